// The one socket: events as they are committed, from the last one seen on, whatever happens to the connection.
// graphql-transport-ws by hand: four kinds of messages are all that a follower needs.
import { useSyncExternalStore } from "react";
import type { LogEvent } from "../model/events";
import { ZONE } from "./http";

export type Connection = "connecting" | "live" | "lost" | "off";

export interface Live {
  connection: Connection;
  head: number; // the newest revision heard of
  lag: number; // milliseconds from commit to here, of the newest event
  since: number; // when the connection was lost
}

const QUERY = `subscription($after: Revision, $query: String) { events(after: $after, query: $query) {
  revision time verb change subresource resource kind namespace name uid causeRevision sentence actor { name kind user } } }`;

const RETRY_MS = [250, 500, 1000, 2000, 4000, 8000];
const PING_MS = 20_000;
const QUIET_MS_MAX = 45_000; // no pong for so long: the connection is dead, whatever the system says

type Listener = (events: readonly LogEvent[]) => void;

class Feed {
  private state: Live = { connection: "off", head: 0, lag: 0, since: 0 };
  private socket: WebSocket | null = null;
  private tries = 0;
  private heard = 0;
  private timer = 0;
  private ping = 0;
  private waiting: LogEvent[] = [];
  private readonly watchers = new Set<() => void>();
  private readonly listeners = new Set<Listener>();
  private after = -1;

  readonly subscribe = (watcher: () => void): (() => void) => {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  };
  readonly snapshot = (): Live => this.state;

  /** Be told of each batch of events. */
  listen(listener: Listener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Follow from after this revision on. */
  start(after: number): void {
    if (this.socket || this.state.connection === "connecting") return;
    this.after = after;
    this.set({ head: Math.max(this.state.head, after) });
    this.open();
  }

  stop(): void {
    window.clearTimeout(this.timer);
    window.clearInterval(this.ping);
    const socket = this.socket;
    this.socket = null;
    socket?.close(1000);
    this.set({ connection: "off" });
  }

  /** Try again now: somebody asked for it. */
  retry(): void {
    window.clearTimeout(this.timer);
    if (this.state.connection === "lost") this.open();
  }

  private set(change: Partial<Live>): void {
    this.state = { ...this.state, ...change };
    this.watchers.forEach((watcher) => watcher());
  }

  private open(): void {
    if (this.state.connection === "off") this.set({ connection: "connecting" });
    const address = new URL("/graphql", window.location.href);
    address.protocol = address.protocol.replace("http", "ws");
    const socket = new WebSocket(address, "graphql-transport-ws");
    this.socket = socket;
    socket.onopen = () => socket.send(JSON.stringify({ type: "connection_init", payload: { zone: ZONE } }));
    socket.onmessage = (message) => this.take(socket, String(message.data));
    socket.onclose = () => this.lost(socket);
  }

  private take(socket: WebSocket, text: string): void {
    if (socket !== this.socket) return;
    this.heard = Date.now();
    const message = JSON.parse(text) as { type: string; payload?: { data?: { events?: LogEvent } } };
    if (message.type === "connection_ack") {
      this.tries = 0;
      socket.send(JSON.stringify({ id: "events", type: "subscribe", payload: { query: QUERY, variables: { after: this.after } } }));
      this.set({ connection: "live", since: 0 });
      window.clearInterval(this.ping);
      this.ping = window.setInterval(() => this.beat(socket), PING_MS);
    } else if (message.type === "ping") {
      socket.send(JSON.stringify({ type: "pong" }));
    } else if (message.type === "next" && message.payload?.data?.events) {
      const event = message.payload.data.events;
      if (event.revision <= this.after) return;
      this.after = event.revision;
      // Events come in bursts; what is drawn is drawn once a frame.
      if (this.waiting.push(event) === 1) window.setTimeout(() => this.flush(), 16);
    } else if (message.type === "error" || message.type === "complete") {
      socket.close();
    }
  }

  private flush(): void {
    const events = this.waiting;
    this.waiting = [];
    const newest = events[events.length - 1]!;
    this.set({ head: newest.revision, lag: Math.max(0, Date.now() - Date.parse(newest.time)) });
    this.listeners.forEach((listener) => listener(events));
  }

  private beat(socket: WebSocket): void {
    if (Date.now() - this.heard > QUIET_MS_MAX) socket.close();
    else socket.send(JSON.stringify({ type: "ping" }));
  }

  private lost(socket: WebSocket): void {
    if (socket !== this.socket) return;
    window.clearInterval(this.ping);
    this.socket = null;
    this.set({ connection: "lost", since: this.state.since || Date.now() });
    const wait = RETRY_MS[Math.min(this.tries++, RETRY_MS.length - 1)]!;
    this.timer = window.setTimeout(() => this.open(), wait);
  }
}

export const feed = new Feed();

export function useLive(): Live {
  return useSyncExternalStore(feed.subscribe, feed.snapshot);
}
