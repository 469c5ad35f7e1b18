// News of one analysis: over a WebSocket while that works, by asking again and again while it does not.

import { call, token } from "./api.js";

const FINAL = new Set(["completed", "failed", "expired"]);
const POLL_INSTEAD = 4429;
const POLL_MS = 1000;
const RECONNECT_MS = 300;
const PATIENCE_MS = 30000; // how long polling is preferred after the socket failed

/**
 * Follow analysis `id`. `onStage` hears each stage once, in order; `onState` gets the whole analysis whenever there is
 * something new to show (a question, the end, or each time while polling). Answers a function that stops all of it.
 */
export function follow(id, { onStage, onState, onTrouble }) {
  let seen = 0;
  let stopped = false;
  let socket = null;
  let timer = null;
  let failures = 0;

  const stage = (entry) => {
    if (entry.n <= seen) return;
    seen = entry.n;
    onStage(entry);
  };

  async function look() {
    const analysis = await call("GET", `/waste/analyses/${id}`);
    if (stopped) return true;
    analysis.stages.forEach(stage);
    onState(analysis);
    return FINAL.has(analysis.status);
  }

  async function poll(until) {
    try {
      if (await look()) return;
      failures = 0;
      if (Date.now() > until) return connect();
    } catch (error) {
      if (stopped) return;
      if (error.status === 404) return onTrouble(error, true);
      failures += 1;
      if (failures > 2) onTrouble(error, false);
    }
    if (!stopped) timer = setTimeout(() => poll(until), POLL_MS * Math.min(1 + failures, 5));
  }

  async function connect() {
    if (stopped) return;
    const address = new URL(`/api/v1/waste/analyses/${id}/events`, location.href);
    address.protocol = address.protocol.replace("http", "ws");
    let mine;
    try {
      mine = await token();
      socket = new WebSocket(address);
    } catch {
      return poll(Date.now() + PATIENCE_MS);
    }
    let spoke = false;
    socket.onopen = () => socket.send(JSON.stringify({ token: mine, after: seen }));
    socket.onmessage = ({ data }) => {
      spoke = true;
      const news = JSON.parse(data);
      if (news.n) stage(news);
      if (news.final || news.status === "needs_answer") look().catch(() => poll(0));
    };
    socket.onclose = ({ code }) => {
      socket = null;
      if (stopped) return;
      if (code === 1000) return; // the end was announced before
      if (code === POLL_INSTEAD || !spoke) poll(Date.now() + PATIENCE_MS);
      else timer = setTimeout(connect, RECONNECT_MS);
    };
  }

  connect();
  return () => {
    stopped = true;
    clearTimeout(timer);
    socket?.close();
  };
}
