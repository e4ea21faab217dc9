// An edge of NeuCODEX in Node, made from protos/co_inference.proto and docs/wire-format.md: it classifies pictures
// together with a real cloud, in lockstep, by the `rate` execution. README.md says how to run it.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";
import * as ort from "onnxruntime-web";

const PROTO = new URL("../../protos/co_inference.proto", import.meta.url).pathname;
const CODEC_PACKED_BITS = 1;
const EXECUTION_RATE = 1;

/** A bundle's manifest, the fingerprint that names it to the cloud, and its head. */
async function openBundle(folder) {
  const raw = readFileSync(join(folder, "manifest.json"));
  const manifest = JSON.parse(raw);
  if (!manifest.executions.rate) throw new Error(`${folder} has no execution \`rate\`, the only one this edge runs`);
  if (manifest.network.input_kind !== "static") throw new Error(`${folder} is for events; this edge takes pictures`);
  const { measure } = manifest.executions.rate.exit_policy;
  if (measure !== "max_probability") throw new Error(`${folder} stops by ${measure}; this edge knows max_probability`);
  ort.env.wasm.numThreads = 1;
  const head = await ort.InferenceSession.create(readFileSync(join(folder, "head-rate.onnx")));
  return { manifest, fingerprint: createHash("sha256").update(raw).digest(), head };
}

/** The pixels of a binary PGM (P5) of exactly the bundle's size. */
function readPicture(path, [channels, height, width]) {
  const file = readFileSync(path);
  const header = /^P5\s+(\d+)\s+(\d+)\s+255\s/.exec(file.toString("latin1", 0, 64));
  if (channels !== 1 || !header || +header[1] !== width || +header[2] !== height) {
    throw new Error(`${path}: a binary PGM (P5) of ${width} x ${height} pixels, 255 levels, is wanted`);
  }
  return file.subarray(header[0].length, header[0].length + width * height);
}

/** The head, which runs once for a picture: pixels to the currents of the encoder's neurons. */
async function currentsOf({ manifest, head }, pixels) {
  const [scale, mean, std] = ["scale", "mean", "std"].map((name) => Math.fround([manifest.normalisation[name]].flat()[0]));
  const normalised = Float32Array.from(pixels, (pixel) => Math.fround(Math.fround(pixel * scale) - mean) / std);
  const input = new ort.Tensor("float32", normalised, [1, ...manifest.network.input_shape]);
  return (await head.run({ [head.inputNames[0]]: input }))[head.outputNames[0]].data;
}

/** The neurons: a function that steps them, all by the same currents, and returns the spikes of the timestep. */
function neurons({ threshold, initial_membrane }, currents) {
  const membrane = new Float32Array(currents.length).fill(initial_membrane);
  return () => {
    for (let n = 0; n < membrane.length; n++) {
      const reset = membrane[n] > threshold ? threshold : 0;
      membrane[n] = Math.fround(membrane[n] + currents[n]) - reset;
    }
    return membrane.map((value) => (value > threshold ? 1 : 0));
  };
}

/** Spikes in the simplest of the forms that a cloud takes: one bit each, the first in the highest bit of its byte. */
function encode(spikes) {
  const packed = Buffer.alloc(Math.ceil(spikes.length / 8));
  spikes.forEach((spike, n) => {
    packed[n >> 3] |= spike << (7 - (n & 7));
  });
  return { codec: CODEC_PACKED_BITS, spikes: packed };
}

/** One stream to a cloud. */
class Stream {
  constructor(address, { fingerprint }, { ca, token }) {
    const definition = protoLoader.loadSync(PROTO, { keepCase: true, defaults: true, oneofs: true });
    const { CoInference } = grpc.loadPackageDefinition(definition).neucodex.v1;
    const credentials = ca ? grpc.credentials.createSsl(readFileSync(ca)) : grpc.credentials.createInsecure();
    const metadata = new grpc.Metadata();
    if (token) metadata.set("authorization", `Bearer ${token}`);
    this.client = new CoInference(address, credentials);
    this.call = this.client.Infer(metadata);
    this.answers = this.call[Symbol.asyncIterator]();
    this.opening = { protocol_version: 1, fingerprint, top_k: 1, execution: EXECUTION_RATE };
    this.stopped = [];
  }

  async open() {
    this.call.write({ open: this.opening });
    return this.receive("ready");
  }

  /** The next answer, which must be of this kind. A Rejection names the sample and why it was given up. */
  async receive(kind) {
    const { value, done } = await this.answers.next(); // throws what the cloud refused with
    if (done) throw new Error("the cloud ended the stream");
    if (value.kind !== kind) throw new Error(`${kind} was due, and came: ${JSON.stringify(value)}`);
    return value[kind];
  }

  /** One timestep of one sample to its result. Samples that have ended are told of with the next frame. */
  async step(sample, timestep, frame) {
    this.call.write({ frame: { sample, timestep, ...frame }, stopped: this.stopped.splice(0) });
    const result = await this.receive("result");
    if (result.sample !== sample || result.timestep !== timestep) throw new Error("the cloud answered another frame");
    return result;
  }

  async close() {
    this.call.end();
    for await (const _ of this.answers); // until the cloud has ended it, too
    this.client.close();
  }
}

/** A picture to its verdict: at the first timestep whose confidence passes the bundle's threshold, or at the last. */
async function classify(stream, bundle, sample, path) {
  const { network, executions, class_names } = bundle.manifest;
  const step = neurons(network.neuron, await currentsOf(bundle, readPicture(path, network.input_shape)));
  let bytes = 0;
  for (let timestep = 1; ; timestep++) {
    const frame = encode(step());
    bytes += frame.spikes.length;
    const { classes: [best], confidences: [confidence] } = await stream.step(sample, timestep, frame);
    if (confidence >= executions.rate.exit_policy.threshold || timestep === network.timesteps) {
      stream.stopped.push(sample);
      return { sample: path, prediction: class_names[best], confidence, timesteps: timestep, payload_bytes: bytes };
    }
  }
}

/** The first token of a file, one a line; lines that begin with # do not count. */
function readToken(path) {
  return readFileSync(path, "utf8").split(/\r?\n/).find((line) => line && !line.startsWith("#"));
}

try {
  const text = { type: "string" };
  const options = { bundle: text, cloud: text, ca: text, "token-file": text };
  const { values, positionals } = parseArgs({ allowPositionals: true, options });
  if (!values.bundle || !values.cloud) throw new Error("name --bundle DIR and --cloud HOST:PORT, then pictures");
  const token = values["token-file"] && readToken(values["token-file"]);
  const bundle = await openBundle(values.bundle);
  const stream = new Stream(values.cloud, bundle, { ca: values.ca, token });
  await stream.open();
  for (const [index, path] of positionals.entries()) {
    console.log(JSON.stringify(await classify(stream, bundle, index + 1, path)));
  }
  await stream.close();
} catch (error) {
  console.error(`error: ${error.message}`);
  process.exit(1);
}
