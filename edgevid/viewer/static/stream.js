// The socket to the server: images with their records in, acknowledgements out, reconnected indefinitely.

const MIN_BACKOFF_MS = 400;
const MAX_BACKOFF_MS = 8000;
const decoder = new TextDecoder();

/**
 * Opens the stream. `on.frame(record, bitmap)`, `on.message(message)`, `on.link("open" | "lost")`.
 * Returns {send(message)}.
 */
export function openStream(on) {
  let socket = null;
  let backoff = MIN_BACKOFF_MS;
  let attempts = 0;
  let newest = 0; // number of the newest image that was shown

  function connect() {
    socket = new WebSocket(new URL("ws", location.href.replace(/^http/, "ws"))); // next to the page, as all that it asks for
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      backoff = MIN_BACKOFF_MS;
      attempts = newest = 0;
      on.link("open");
      if (document.hidden) send({ visible: false });
    };
    socket.onmessage = ({ data }) => (typeof data === "string" ? on.message(JSON.parse(data)) : image(data));
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
      if (from === socket) send({ ack: record.n });
    }
  }

  async function lost() {
    on.link("lost");
    attempts += 1;
    await new Promise((done) => setTimeout(done, backoff * (1 + Math.random() / 2)));
    backoff = Math.min(2 * backoff, MAX_BACKOFF_MS);
    if (attempts % 4 === 0 && (await needsToken())) location.reload();
    connect();
  }

  function send(message) {
    if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
  }

  document.addEventListener("visibilitychange", () => send({ visible: !document.hidden }));
  connect();
  return { send };
}

/** Whether the server is back and needs a token that this browser does not have. */
async function needsToken() {
  try {
    return (await fetch("", { method: "HEAD" })).status === 401;
  } catch {
    return false;
  }
}
