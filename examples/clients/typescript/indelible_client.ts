/**
 * A client of `indelible record` with nothing but Node's own library: docs/reference/protocol.md.
 *
 *     const client = await Client.connect("/run/indelible/record.sock", "jobs");
 *     await client.record({ event_type: "mcp_operation", target: {…}, outcome: {…} });  // may go on: it is on its way
 *     await client.close();  // everything is in the trail now
 *
 * Events go out at once, a window of them ahead of what was acknowledged; when the service is gone, they wait, and are
 * sent again when it is back.
 */

import { randomUUID } from "node:crypto";
import { connect, type Socket } from "node:net";

const VERSION = 1;
/** Between two attempts to reach a service that is gone: the first pause, and the longest. */
const PAUSE_MS = [20, 1000] as const;

export type AuditEvent = { event_id?: string; timestamp?: string; event_type: string; [key: string]: unknown };

type Welcome = { t: "welcome"; window: number; life: string; size?: number; durability: string; uid: number; pid: number };
type Message =
  | Welcome
  | { t: "refused"; error: string }
  | { t: "ack"; n: number; size?: number }
  | { t: "nack"; n: number; error: string }
  | { t: "bye" };

/** `since`: how many lines the trail had at least when it was sent first; -1 when nobody has said. */
type Letter = { event: AuditEvent; number: number; again: boolean; deaths: number; since: number };

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export class Client {
  acknowledged = 0;
  /** What the service did not take, and why. */
  readonly refused: { event: AuditEvent; error: string }[] = [];
  welcome: Welcome | undefined;

  private letters: Letter[] = [];
  private sent = 0;
  private number = 0;
  private size = 0;
  private socket: Socket | undefined;
  private saidBye = false;
  private closed = false;
  /** Called whenever something was answered for, or can be answered for no more. */
  private waiting: (() => void)[] = [];
  private failure: Error | undefined;

  private constructor(
    private readonly path: string,
    private readonly recorder: string,
    private readonly timeoutMs: number,
  ) {}

  /** Connect. Throws when the service refuses, or nobody answers in time. */
  static async connect(path: string, recorder: string, timeoutMs = 30_000): Promise<Client> {
    const client = new Client(path, recorder, timeoutMs);
    await client.reach();
    return client;
  }

  /** Send an event, filling in its id and time; waits while too many are on their way. Returns the id. */
  async record(event: AuditEvent): Promise<string> {
    event.event_id ??= randomUUID();
    event.timestamp ??= new Date().toISOString();
    this.letters.push({ event, number: 0, again: false, deaths: 0, since: -1 });
    this.send();
    await this.until(() => this.letters.length < (this.welcome?.window ?? 1));
    return event.event_id;
  }

  /** Wait until the service has answered for every event. */
  async flush(): Promise<void> {
    await this.until(() => this.letters.length === 0);
  }

  /** Flush, and say good-bye. */
  async close(): Promise<void> {
    await this.flush();
    this.closed = true;
    if (this.socket) {
      this.say({ t: "bye" });
      this.socket.end();
    }
  }

  private async until(done: () => boolean): Promise<void> {
    while (!done()) {
      if (this.failure) throw this.failure;
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
  }

  private wake(): void {
    for (const resolve of this.waiting.splice(0)) resolve();
  }

  private send(): void {
    const window = this.welcome?.window ?? 0;
    while (this.socket && this.sent < Math.min(this.letters.length, window)) {
      const letter = this.letters[this.sent]!;
      // An event that was on its way when a service died goes alone.
      if (this.sent && (letter.deaths || this.letters[this.sent - 1]!.deaths)) return;
      letter.number = ++this.number;
      if (!letter.again) letter.since = this.size || -1;
      this.sent++;
      const put = { t: "put", n: letter.number, id: letter.event.event_id, body: letter.event };
      this.say(letter.again ? { ...put, again: true, deaths: letter.deaths, since: letter.since } : put);
    }
  }

  private say(message: object): void {
    const data = Buffer.from(JSON.stringify(message), "utf8");
    const size = Buffer.alloc(4);
    size.writeUInt32BE(data.length);
    this.socket?.write(Buffer.concat([size, data]));
  }

  private hear(message: Message): void {
    if (message.t === "ack") {
      while (this.sent && this.letters[0]!.number <= message.n) {
        this.settle();
        this.acknowledged++;
      }
      this.size = message.size || this.size;
    } else if (message.t === "nack") {
      // Answers come in the order of the numbers: it is the first that is still unanswered.
      this.refused.push({ event: this.letters[0]!.event, error: message.error });
      this.settle();
    } else if (message.t === "bye") {
      this.saidBye = true;
      this.socket?.destroy();
      return;
    }
    this.send();
    this.wake();
  }

  private settle(): void {
    this.letters.shift();
    this.sent--;
  }

  /** Connect, say hello, and begin anew. Waits while nobody answers. */
  private async reach(): Promise<void> {
    const deadline = Date.now() + this.timeoutMs;
    for (let pause: number = PAUSE_MS[0]; ; pause = Math.min(PAUSE_MS[1], 2 * pause)) {
      try {
        await this.greet();
        return;
      } catch (error) {
        if (error instanceof Refused || Date.now() >= deadline) throw error;
      }
      await sleep(pause * (0.5 + Math.random()));
    }
  }

  private greet(): Promise<void> {
    return new Promise((resolve, reject) => {
      const socket = connect(this.path);
      let rest = Buffer.alloc(0);
      let greeted = false;
      socket.on("connect", () => {
        const hello = { t: "hello", v: VERSION, recorder: this.recorder, pid: 0 };
        this.socket = socket;
        this.say(hello);
      });
      socket.on("data", (data: Buffer) => {
        rest = Buffer.concat([rest, data]);
        while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32BE(0)) {
          const end = 4 + rest.readUInt32BE(0);
          const message = JSON.parse(rest.toString("utf8", 4, end)) as Message;
          rest = rest.subarray(end);
          if (greeted) {
            this.hear(message);
          } else if (message.t === "welcome") {
            greeted = true;
            this.begin(message);
            resolve();
          } else {
            socket.destroy();
            reject(new Refused(message.t === "refused" ? message.error : "no welcome came"));
          }
        }
      });
      socket.on("error", reject);
      socket.on("close", () => {
        this.socket = undefined;
        reject(new Error(`${this.path}: the connection has ended`));
        if (greeted && !this.closed) {
          this.reach().catch((error: Error) => {
            this.failure = error;
            this.wake();
          });
        }
      });
    });
  }

  /** Send again, marked, what was on its way: it may be in the trail or not. */
  private begin(welcome: Welcome): void {
    const died = this.welcome !== undefined && !this.saidBye && this.welcome.life !== welcome.life;
    for (const letter of this.letters.slice(0, this.sent)) {
      letter.again = true;
      letter.deaths += died ? 1 : 0;
    }
    this.welcome = welcome;
    this.saidBye = false;
    this.size = welcome.size ?? 0;
    this.number = this.sent = 0;
    this.send();
    this.wake();
  }
}

export class Refused extends Error {}

/** `indelible_client SOCKET COUNT`: record so many events; print what became of them. */
async function main(): Promise<void> {
  const [path = "", count = "0"] = process.argv.slice(2);
  const client = await Client.connect(path, "typescript-example");
  for (let number = 0; number < Number(count); number++) {
    await client.record({
      event_type: "mcp_operation",
      source: { caller: "library" },
      target: { type: "tool", method: "tools/call", capability_name: "example" },
      request: { args: { number, to: "ada@example.com" } },
      outcome: { status: "success", kind: "completed", latency_ms: 1.5 },
    });
  }
  await client.close();
  console.log(`acknowledged ${client.acknowledged}, refused ${client.refused.length}`);
}

main().catch((error: Error) => {
  console.error(error.message);
  process.exitCode = 1;
});
