// The report on the calibration: errors, scale, camera and warnings.

const $ = (id) => document.getElementById(id);
const meters = (value) => (value === null ? "?" : value.toFixed(value < 0.1 ? 3 : 2));

/** Shows an answer of /api/solve. */
export function showReport(answer) {
  const ok = Boolean(answer?.ok);
  $("report").hidden = !ok;
  $("problem").hidden = ok || !answer;
  $("problem").textContent = ok ? "" : (answer?.error ?? "");
  const badge = $("status");
  const warnings = ok ? answer.warnings.length : 0;
  $("problem").className = `banner ${answer?.incomplete ? "incomplete" : "bad"}`;
  badge.className = `badge ${!answer || answer.incomplete ? "" : !ok ? "bad" : warnings ? "warn" : "good"}`;
  badge.textContent = !answer || answer.incomplete ? "incomplete" : !ok ? "invalid" : warnings ? `${warnings} warning${warnings > 1 ? "s" : ""}` : "valid";
  if (!ok) return;
  $("errors").textContent = errors(answer);
  $("scales").tBodies[0].replaceChildren(...answer.scales.map(scaleRow));
  $("camera").textContent = camera(answer.camera);
  $("warnings").replaceChildren(...answer.warnings.map(item));
}

function errors(answer) {
  if (answer.error_px.length === 4) return "Four points fit exactly. A fifth point shows the reprojection error.";
  const px = answer.error_px.map((one) => one ?? 0);
  const worst = px.indexOf(Math.max(...px));
  const mean = px.reduce((a, b) => a + b, 0) / px.length;
  const far = answer.error_m[worst];
  return `${px.length} points: mean reprojection error ${mean.toFixed(2)} px, worst ${px[worst].toFixed(1)} px (${meters(far)} m, point ${worst + 1}).`;
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

function camera(found) {
  if (!found) return "The view has no perspective to measure the camera from.";
  const width = `angle of view ${found.width_deg.toFixed(0)} degrees`;
  return `Camera: ${found.height_m.toFixed(1)} m above the road, pitch ${found.pitch_deg.toFixed(0)} degrees down, ${width}. Compare the height with the site.`;
}

function item(text) {
  const one = document.createElement("li");
  one.textContent = text.charAt(0).toUpperCase() + text.slice(1);
  return one;
}
