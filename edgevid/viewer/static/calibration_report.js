// What the server said of the calibration, in words and tables.

const $ = (id) => document.getElementById(id);
const meters = (value) => (value === null ? "?" : value.toFixed(value < 0.1 ? 3 : 2));

/** Shows an answer of /api/solve; `busy` while a newer one is on its way. */
export function showReport(answer) {
  const ok = Boolean(answer?.ok);
  $("report").hidden = !ok;
  $("problem").hidden = ok || !answer;
  $("problem").textContent = ok ? "" : (answer?.error ?? "");
  const badge = $("verdict");
  const doubts = ok ? answer.warnings.length : 0;
  $("problem").className = `banner ${answer?.todo ? "todo" : "bad"}`;
  badge.className = `badge ${!answer || answer.todo ? "" : !ok ? "bad" : doubts ? "warn" : "good"}`;
  badge.textContent = !answer || answer.todo ? "to be finished" : !ok ? "refused" : doubts ? `${doubts} to look at` : "good";
  if (!ok) return;
  $("errors").textContent = errors(answer);
  $("scales").tBodies[0].replaceChildren(...answer.scales.map(scaleRow));
  $("camera").textContent = camera(answer.camera);
  $("warnings").replaceChildren(...answer.warnings.map(item));
}

function errors(answer) {
  if (answer.exact) return "Four points fix the plane exactly, so that their own error cannot show. A fifth tells.";
  const px = answer.errors.map((one) => one.px ?? 0);
  const worst = px.indexOf(Math.max(...px));
  const mean = px.reduce((a, b) => a + b, 0) / px.length;
  const far = answer.errors[worst].m;
  return `${px.length} points: ${mean.toFixed(2)} px off on average, worst point ${worst + 1} with ${px[worst].toFixed(1)} px (${meters(far)} m).`;
}

function scaleRow(scale) {
  const row = document.createElement("tr");
  const percent = scale.error === null ? "?" : `${(100 * scale.error).toFixed(1)} %`;
  const cells = [scale.place, meters(scale.along), meters(scale.across), percent];
  cells.forEach((text, n) => {
    const cell = document.createElement("td");
    cell.textContent = text;
    if (n) cell.className = "number";
    if (n === 3 && (scale.error ?? 1) > 0.03) cell.classList.add("warn");
    row.append(cell);
  });
  return row;
}

function camera(seen) {
  if (!seen) return "The view has no perspective that tells where the camera stands.";
  const wide = `${seen.wide.toFixed(0)} degrees wide`;
  return `So the camera hangs ${seen.height.toFixed(1)} m above the road, looks ${seen.pitch.toFixed(0)} degrees down and sees ${wide}. Does it?`;
}

function item(words) {
  const one = document.createElement("li");
  one.textContent = words.charAt(0).toUpperCase() + words.slice(1);
  return one;
}
