// Photographs the pages that the screenshots program made.
//
// In: the browser's program, the directory of the pages, a directory for pictures. Out: a PNG of each, of at most as many
// bytes as a repository should carry.

import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { start } from "../page/browser.mjs";

const [program, pages, pictures] = process.argv.slice(2);
const MAX_BYTES = 300_000;
const { ask, attach, close, open, run, settled } = start(program);

async function shoot(name, clip) {
  const { data } = await ask("Page.captureScreenshot", { captureBeyondViewport: true, clip: { ...clip, scale: 1 } });
  const path = join(pictures, `${name}.png`);
  writeFileSync(path, Buffer.from(data, "base64"));
  const bytes = statSync(path).size;
  console.log(`${path}: ${clip.width} x ${clip.height}, ${bytes} bytes`);
  if (bytes > MAX_BYTES) throw new Error(`${path} has ${bytes} bytes, more than ${MAX_BYTES}`);
}
const box = (selector) => run(`(() => { const { x, y, width, height } = document.querySelector(${JSON.stringify(selector)}).getBoundingClientRect();
  return { x: Math.floor(x + scrollX), y: Math.floor(y + scrollY), width: Math.ceil(width), height: Math.ceil(height) }; })()`);

try {
  await attach(["Page", "Runtime"]);
  for (const name of ["top", "top-request", "report-text"]) {
    await open(join(pages, `${name}.html`), 1400, "dark");
    await shoot(name, { ...(await box("body")), x: 0, y: 0 });
  }
  await open(join(pages, "report.html"), 1100, "light");
  await shoot("report-page", { x: 0, y: 0, width: 1100, height: 860 });
  // The request that took longest, selected by keyboard as a reader would.
  await run("document.getElementById('timeline-canvas').focus()");
  for (const key of ["ArrowRight", "+", "+", "+"]) {
    await ask("Input.dispatchKeyEvent", { type: "keyDown", key });
    await settled();
  }
  const timeline = await box("#timeline");
  await run("document.querySelector('nav').hidden = true");
  await settled();
  await shoot("report-timeline", { ...timeline, x: 0, width: 1100, height: Math.min(timeline.height, 800) });
} finally {
  await close();
}
