// Asks Perfetto's own trace processor about a trace.
//
// In: the directory of the engine (trace_processor.wasm, engine_bundle.node.js, engine.mjs), a trace file, and on
// standard input a JSON array of SQL texts. Out: on standard output a JSON array with the rows of each text's last
// statement, as objects; 64-bit numbers that JavaScript cannot hold become strings. Exit code 1 with the engine's
// words on standard error if the trace or a text is refused.
//
// The engine is a browser worker's code. What a worker has and Node has not is put in place here, nothing is fetched.

import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import vm from "node:vm";

const [engineDirectory, traceFile] = process.argv.slice(2).map((path) => resolve(path));

/** Starts the engine and returns its message channel, once the engine can take messages. */
async function startEngine() {
  const wasm = readFileSync(join(engineDirectory, "trace_processor.wasm"));
  globalThis.self = globalThis;
  globalThis.WorkerGlobalScope = function WorkerGlobalScope() {};
  globalThis.location = { href: `${pathToFileURL(engineDirectory).href}/` };
  globalThis.XMLHttpRequest = class {
    open() {}
    send() {
      this.status = 200;
      this.response = wasm.buffer.slice(wasm.byteOffset, wasm.byteOffset + wasm.byteLength);
    }
  };

  // The package carries the 32-bit engine only; the glue would ask for the 64-bit one where a probe of a few bytes
  // compiles.
  const { Module } = WebAssembly;
  WebAssembly.Module = class extends Module {
    constructor(bytes) {
      if (bytes.byteLength < wasm.byteLength) throw new TypeError("64-bit memory is not offered");
      super(bytes);
    }
  };
  vm.runInThisContext(readFileSync(join(engineDirectory, "engine_bundle.node.js"), "utf8"));
  WebAssembly.Module = Module;
  // The module is compiled synchronously; what the glue puts off are microtasks, through by the next macrotask.
  await new Promise((done) => setImmediate(done));

  const channel = new MessageChannel();
  globalThis.onmessage({ data: channel.port1 });
  return channel;
}

/** Rows of a result as plain objects. */
function rowsOf(result) {
  const rows = [];
  for (const cursor = result.iter({}); cursor.valid(); cursor.next()) {
    rows.push(Object.fromEntries(result.columns().map((column) => [column, plain(cursor.get(column))])));
  }
  return rows;
}

/** A cell as JSON can hold it. */
function plain(cell) {
  if (typeof cell !== "bigint") return cell;
  const number = Number(cell);
  return Number.isSafeInteger(number) ? number : cell.toString();
}

console.log = (...words) => process.stderr.write(`${words.join(" ")}\n`);
console.warn = () => {};

const { EngineBase } = await import(pathToFileURL(join(engineDirectory, "engine.mjs")).href);
const channel = await startEngine();

class Engine extends EngineBase {
  mode = "WASM";
  id = "test";
  constructor(port) {
    super();
    this.port = port;
    port.onmessage = (message) => this.onRpcResponseBytes(message.data);
  }
  rpcSendRequestBytes(bytes) {
    this.port.postMessage(bytes);
  }
}

try {
  const engine = new Engine(channel.port2);
  await engine.parse(new Uint8Array(readFileSync(traceFile)));
  await engine.notifyEof();
  const answers = [];
  for (const sql of JSON.parse(readFileSync(0, "utf8"))) answers.push(rowsOf(await engine.query(sql)));
  process.stdout.write(`${JSON.stringify(answers)}\n`, () => process.exit(0));
} catch (error) {
  process.stderr.write(`${error?.message ?? error}\n`, () => process.exit(1));
}
