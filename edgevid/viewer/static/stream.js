// The socket to the server: images with their records in, answers out, reconnected for ever.

const FIRST_WAIT_MS = 400;
const LONGEST_WAIT_MS = 8000;
const decoder = new TextDecoder();

/**
 * Opens the stream. `on.frame(record, bitmap)`, `on.words(message)`, `on.link("open" | "lost")`.
 * Returns {send(message)}.
 */
export function openStream(on) {
  let socket = null;
  let wait = FIRST_WAIT_MS;
  let refused = 0;
  let newest = 0; // number of the newest image that was handed on

  function connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    socket = new WebSocket(`${scheme}://${location.host}/ws`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      wait = FIRST_WAIT_MS;
      refused = newest = 0;
      on.link("open");
      if (document.hidden) send({ looking: false });
    };
    socket.onmessage = ({ data }) => (typeof data === "string" ? on.words(JSON.parse(data)) : image(data));
    socket.onclose = lost;
  }

  async function image(data) {
    const from = socket;
    const length = new DataView(data).getUint32(0, true);
    const record = JSON.parse(decoder.decode(new Uint8Array(data, 4, length)));
    try {
      const bitmap = await createImageBitmap(new Blob([new Uint8Array(data, 4 + length)], { type: "image/jpeg" }));
      if (from === socket && record.n >= newest) {
        newest = record.n;
        on.frame(record, bitmap);
      } else bitmap.close(); // an older one that took longer to decode
    } finally {
      if (from === socket) send({ got: record.n });
    }
  }

  async function lost() {
    on.link("lost");
    refused += 1;
    await new Promise((done) => setTimeout(done, wait * (1 + Math.random() / 2)));
    wait = Math.min(2 * wait, LONGEST_WAIT_MS);
    if (refused % 4 === 0 && (await needsToken())) location.reload();
    connect();
  }

  function send(message) {
    if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
  }

  document.addEventListener("visibilitychange", () => send({ looking: !document.hidden }));
  connect();
  return { send };
}

/** Whether the server is there again and wants a token that this browser does not have. */
async function needsToken() {
  try {
    return (await fetch("/", { method: "HEAD" })).status === 401;
  } catch {
    return false;
  }
}
