// A headless Chromium, driven by its debugging protocol over a pipe.
//
// In: the browser's program. Out: ways to ask it things, and to end it.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

export function start(program) {
  const profile = mkdtempSync(join(tmpdir(), "page-"));
  const flags = ["--headless", "--disable-gpu", "--no-first-run", `--user-data-dir=${profile}`, "--remote-debugging-pipe"];
  // As root Chromium starts without its sandbox only; what it opens here is what this tree wrote.
  if (process.getuid() === 0) flags.push("--no-sandbox");
  const browser = spawn(program, [...flags, "about:blank"], { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
  const failed = (error) => { console.error(`the browser cannot be used: ${error.message}`); process.exit(1); };
  browser.on("error", failed);

  const answers = new Map();
  let listeners = [];
  let events = [];
  let number = 0;
  let session;
  let rest = "";
  browser.stdio[3].on("error", failed);
  browser.stdio[4].setEncoding("utf8").on("data", (text) => {
    const messages = (rest + text).split("\0");
    rest = messages.pop();
    for (const message of messages.map((text) => JSON.parse(text))) {
      if (message.id) {
        const { accept, refuse } = answers.get(message.id);
        if (message.error) refuse(new Error(message.error.message)); else accept(message.result);
      } else {
        events.push(message);
        listeners = listeners.filter(({ method, accept }) => message.method !== method || accept(message.params));
      }
    }
  });
  const ask = (method, params = {}) => new Promise((accept, refuse) => {
    answers.set(++number, { accept, refuse });
    browser.stdio[3].write(`${JSON.stringify({ id: number, method, params, sessionId: session })}\0`);
  });
  const event = (method) => new Promise((resolve) => listeners.push({ method, accept: (params) => { resolve(params); return false; } }));
  const run = async (expression) => {
    const { result, exceptionDetails } = await ask("Runtime.evaluate", { expression, returnByValue: true, awaitPromise: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  };
  // Two frames later everything that a script asked to be drawn is drawn, and what it did is reported.
  const settled = () => run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))");

  // A page of its own, with these parts of the protocol switched on.
  const attach = async (domains) => {
    const { targetInfos } = await ask("Target.getTargets");
    const { targetId } = targetInfos.find(({ type }) => type === "page");
    ({ sessionId: session } = await ask("Target.attachToTarget", { targetId, flatten: true }));
    for (const domain of domains) await ask(`${domain}.enable`);
  };
  async function open(page, width, scheme, height = 900) {
    events = [];
    await ask("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: false });
    await ask("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: scheme }] });
    const loaded = event("Page.loadEventFired");
    await ask("Page.navigate", { url: pathToFileURL(resolve(page)).href });
    await loaded;
    await settled();
  }
  const close = async () => {
    session = undefined;
    await ask("Browser.close").catch(() => {});
    await new Promise((resolve) => (browser.exitCode === null ? browser.on("exit", resolve) : resolve()));
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  };
  return { ask, attach, close, event, open, run, settled, events: () => events };
}
