// The page of viewer_transport.py: shows images as they arrive and records when each number is painted.

const BITS = 16; // blocks of 16 pixels along the top of an image, lowest bit first

window.run = async (way, seconds, [width, height]) => {
  const ctx = new OffscreenCanvas(BITS, 1).getContext("2d", { willReadFrequently: true });
  const { target, stop } = [socketJpeg, mjpeg, socketVideo][way](width, height);
  document.body.append(target);
  const painted = [];
  const start = performance.now();
  while (performance.now() - start < 1000 * seconds) {
    await new Promise(requestAnimationFrame);
    const number = read(ctx, target);
    if (number && painted.at(-1)?.[0] !== number) painted.push([number, Date.now()]);
  }
  stop();
  target.remove();
  return painted;
};

function read(ctx, target) {
  try {
    for (let bit = 0; bit < BITS; bit++) ctx.drawImage(target, 16 * bit + 8, 8, 1, 1, bit, 0, 1, 1);
  } catch {
    return 0; // nothing has arrived yet
  }
  const pixels = ctx.getImageData(0, 0, BITS, 1).data;
  let number = 0;
  for (let bit = 0; bit < BITS; bit++) if (pixels[4 * bit] > 127) number |= 1 << bit;
  return number;
}

function open(way) {
  const socket = new WebSocket(`ws://${location.host}/ws/${way}`);
  socket.binaryType = "arraybuffer";
  return socket;
}

function socketJpeg(width, height) {
  const target = Object.assign(document.createElement("canvas"), { width, height });
  const paint = target.getContext("2d");
  const socket = open(0);
  socket.onmessage = async ({ data }) => {
    const bitmap = await createImageBitmap(new Blob([data]));
    paint.drawImage(bitmap, 0, 0);
    bitmap.close();
  };
  return { target, stop: () => socket.close() };
}

function mjpeg() {
  const target = new Image();
  target.src = "/mjpeg";
  return { target, stop: () => (target.src = "") };
}

function socketVideo() {
  const target = Object.assign(document.createElement("video"), { muted: true });
  const media = new MediaSource();
  const queue = [];
  const socket = open(2);
  target.src = URL.createObjectURL(media);
  media.onsourceopen = () => {
    const buffer = media.addSourceBuffer('video/mp4; codecs="avc1.42c01f"');
    const feed = () => {
      if (queue.length && !buffer.updating) buffer.appendBuffer(queue.shift());
    };
    buffer.onupdateend = () => {
      feed();
      const ranges = target.buffered;
      const end = ranges.length ? ranges.end(ranges.length - 1) : 0;
      if (end - target.currentTime > 0.3) target.currentTime = end - 0.02; // to the newest frame
      if (target.paused) target.play();
    };
    socket.onmessage = ({ data }) => {
      queue.push(data);
      feed();
    };
  };
  return { target, stop: () => socket.close() };
}
