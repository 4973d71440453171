// Opens pages of --format html in a headless Chromium, by its debugging protocol over a pipe.
//
// In: the browser's program, axe-core's script, a directory for screenshots, pages. Out: a screenshot of each page, light and dark, wide
// and narrow, and exit code 1 with what is wrong where a page logs anything, asks the network for anything, violates its
// policy, is wider than its window, does not answer to the keyboard, does not filter its requests, does not open at the link of
// a request or a finding, or violates a rule of axe-core (WCAG 2.2 A and AA, and its best practices). A page with 100 000 pieces of threads' time must be drawn within a frame. Then a script, an image and a style are planted
// in the last page: its policy must refuse all three.

import { readFileSync, statSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

import { start } from "./browser.mjs";

const [program, axe, shots, ...pages] = process.argv.slice(2);
const { ask, attach, close, event, open, run, settled, events } = start(program);

const MAX_BYTES = 1_000_000;
const wrong = [];
const NOTABLE = ["Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded", "Audits.issueAdded"];
const notable = () => events().filter(({ method, params }) =>
  NOTABLE.includes(method) || (method === "Network.requestWillBeSent" && !params.request.url.startsWith("file:")));

async function check(page, width, scheme, accessibility) {
  await open(page, width, scheme);
  const where = `${basename(page)}, ${width} wide, ${scheme}`;
  const [wide, drawn] = await run(
    "[document.documentElement.scrollWidth, document.getElementById('timeline-data') ? 1 : 0]");
  if (wide > width) wrong.push(`${where}: ${wide} pixels wide`);
  if (drawn) {
    await run("document.getElementById('timeline-canvas').focus()");
    await ask("Input.dispatchKeyEvent", { type: "keyDown", key: "ArrowRight" });
    await settled();
    if (!await run("document.querySelector('#timeline-readout h3') !== null")) wrong.push(`${where}: no answer to a key`);
    if (!await run("/^#request-[0-9]+$/.test(location.hash)")) wrong.push(`${where}: the address is no link to what is selected`);
    for (const problem of await run(FILTERED)) wrong.push(`${where}: ${problem}`);
  }
  for (const { method, params } of notable()) wrong.push(`${where}: ${method} ${JSON.stringify(params).slice(0, 300)}`);
  if (accessibility) await accessible(where);
  const { cssContentSize: size } = await ask("Page.getLayoutMetrics");
  const clip = { x: 0, y: 0, width: size.width, height: Math.min(size.height, 12000), scale: 1 };
  const { data } = await ask("Page.captureScreenshot", { captureBeyondViewport: true, clip });
  writeFileSync(join(shots, `${basename(page, ".html")}-${width}-${scheme}.png`), Buffer.from(data, "base64"));
}

// The filter, typed into: nothing matches what no request has; what the first request is called has matches, all of them listed with links.
const FILTERED = `(() => {
  const problems = [];
  const words = document.getElementById("filter-words");
  const rows = () => Array.from(document.querySelectorAll("#filter-list tbody tr"));
  const type = (text) => {
    words.value = text;
    words.dispatchEvent(new Event("input"));
    return parseInt(document.getElementById("filter-count").textContent, 10);
  };
  if (type("no request has this") !== 0 || rows().length) problems.push("the filter lets through what does not match");
  const shown = document.querySelector("#timeline-readout h3").textContent;
  const found = type(shown.split(" ")[0] + " " + shown.split(" ").slice(1).join(" "));
  if (!(found >= 1) || rows().length !== Math.min(found, 50)) problems.push("the filter does not find " + shown);
  if (!rows().every((row) => /^#request-/.test(row.querySelector("a").getAttribute("href")))) problems.push("no links in the list");
  if (type("") >= 0 || rows().length) problems.push("an empty filter lists requests");
  return problems;
})()`;

// What a link to a request and one to a finding lead to, in a page that was opened with it.
async function linked(page) {
  await open(page, 1280, "light");
  const request = await run("document.querySelector('.exemplar button')?.textContent.slice(1) ?? document.querySelector('#slowest > details')?.id.slice(8)");
  const finding = await run("document.querySelector('article.finding')?.id");
  const at = async (link, expression) => {
    // From elsewhere: within the page it would only be a jump.
    for (const url of ["about:blank", `${pathToFileURL(resolve(page)).href}#${link}`]) {
      const loaded = event("Page.loadEventFired");
      await ask("Page.navigate", { url });
      await loaded;
    }
    await settled();
    if (!await run(expression)) wrong.push(`${basename(page)}#${link} leads nowhere`);
  };
  if (request) await at(`request-${request}`, `document.querySelector('#timeline-readout h3')?.textContent.startsWith('#${request} ')`);
  if (finding) await at(finding, `Math.abs(document.getElementById('${finding}').getBoundingClientRect().top) < innerHeight`);
}

// Of all rules that axe-core has for pages like these; what it cannot decide by itself is not counted.
const ACCESSIBLE = `axe.run({ resultTypes: ["violations"] }).then(({ violations, passes }) => [passes.length, violations.map(
  ({ id, help, nodes }) => id + ": " + help + ": " + nodes.slice(0, 3).map(({ html, failureSummary }) => html.slice(0, 120) + " " + failureSummary).join("; "))])`;

async function accessible(where) {
  await run(readFileSync(axe, "utf8"));
  const [passes, violations] = await run(ACCESSIBLE);
  if (passes < 20) wrong.push(`${where}: axe-core ran ${passes} rules alone`);
  for (const violation of violations) wrong.push(`${where}: ${violation}`);
}

// As html/packed.rs writes numbers and html/script.js reads them.
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const pack = (numbers) => numbers.map((number) => {
  let text = "";
  for (let rest = number; ; rest = Math.floor(rest / 32)) {
    text += LETTERS[rest % 32 + (rest >= 32 ? 32 : 0)];
    if (rest < 32) return text;
  }
}).join("");
const unpack = (text) => {
  const numbers = [];
  let [number, scale] = [0, 1];
  for (const letter of text) {
    const digit = LETTERS.indexOf(letter);
    number += (digit % 32) * scale;
    scale *= 32;
    if (digit < 32) {
      numbers.push(number);
      [number, scale] = [0, 1];
    }
  }
  return numbers;
};

// The page's timeline with its threads' pieces repeated until there are as many as this, in sixteen rows.
const PIECES = 100_000;
// The script's own time for a frame, on average: two frames of a 60 Hz screen, for a machine that does other things too.
const FRAME_MS = 33;
async function smooth(page) {
  const island = /(<script type="application\/json" id="timeline-data">)(.*?)(<\/script>)/s;
  const text = readFileSync(page, "utf8");
  const data = JSON.parse(text.match(island)[2]);
  const some = data.threads.flatMap(([, , packed]) => unpack(packed));
  const rows = 16;
  data.rows = Array.from({ length: rows }, (_, row) => data.rows[row] ?? `row ${row}`);
  data.threads = data.rows.map((_, row) => {
    const pieces = [];
    while (pieces.length < PIECES / rows) pieces.push(...some);
    pieces.length = PIECES / rows;
    const whole = pieces.reduce((sum, value) => sum + Math.floor(value / 16), 0);
    const long = (value) => Math.floor((Math.floor(value / 16) * data.length_ns) / 1000 / whole);
    return [row, 0, pack(pieces.map((value) => 16 * long(value) + value % 16))];
  });
  const large = join(shots, "large.html");
  writeFileSync(large, text.replace(island, (_, before, __, after) => before + JSON.stringify(data) + after));
  await open(large, 1280, "light");
  await ask("Performance.enable");
  const spent = async () => (await ask("Performance.getMetrics")).metrics.find(({ name }) => name === "ScriptDuration").value;
  await run("document.getElementById('timeline-canvas').focus()");
  const before = await spent();
  let frames = 0;
  for (let turn = 0; turn < 5; turn += 1) {
    for (const key of ["Home", "+", "PageDown", "+", "PageUp", "-"]) {
      await ask("Input.dispatchKeyEvent", { type: "keyDown", key });
      await settled();
      frames += 1;
    }
  }
  const each = ((await spent()) - before) * 1000 / frames;
  console.log(`${PIECES} pieces of threads' time: ${each.toFixed(1)} ms of script a frame`);
  if (!(each < FRAME_MS)) wrong.push(`${PIECES} pieces take ${each.toFixed(1)} ms a frame`);
}

const PLANTED = `(() => {
  const script = document.createElement("script");
  script.textContent = "window.planted = true";
  const image = document.createElement("img");
  image.src = "http://127.0.0.1:9/planted.png";
  document.body.append(script, image);
  document.body.setAttribute("style", "color: red");
})()`;

try {
  await attach(["Page", "Runtime", "Log", "Network", "Audits"]);
  for (const page of pages) {
    for (const width of [1280, 400]) {
      // The rules ask for the same on any page; a part of the pages has all that there is.
      for (const scheme of ["light", "dark"]) await check(page, width, scheme, pages.indexOf(page) % 4 === 0);
    }
  }
  for (const page of pages) {
    if (pages.indexOf(page) % 4 === 0) await linked(page);
    const { size } = statSync(page);
    if (size > MAX_BYTES) wrong.push(`${basename(page)} has ${size} bytes, more than ${MAX_BYTES}`);
  }
  await smooth(pages.find((page) => basename(page).startsWith("gthread-cpu")) ?? pages[0]);
  await open(pages.at(-1), 1280, "light");
  await run(readFileSync(axe, "utf8"));
  await run(PLANTED);
  await settled();
  if (await run("window.planted === true")) wrong.push("a planted script ran");
  const refused = events().filter(({ method, params }) => method === "Log.entryAdded" && params.entry.source === "security").length;
  if (!(await run(ACCESSIBLE))[1].some((violation) => violation.startsWith("image-alt"))) wrong.push("axe-core does not see the planted image");
  if (refused < 3) wrong.push(`of a planted script, image and style the policy refused ${refused}`);
} catch (error) {
  wrong.push(error.message);
}
await close();
wrong.forEach((line) => console.error(line));
console.log(`${pages.length} pages opened in ${program}: ${wrong.length} things wrong`);
process.exit(wrong.length ? 1 : 0);
