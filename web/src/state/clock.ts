// What time it is where the cluster is. A recording's clock stands where it ends; a live server's may differ from ours.

let server = 0;
let local = 0;
let still = false;

// Longer than answers differ by, shorter than anybody looks at one screen.
const STILL_MS = 1500;

/** The server has said what time it is. */
export function learn(serverNow: number): void {
  const here = Date.now();
  if (server) {
    if (here - local > STILL_MS) still = serverNow - server < (here - local) / 2 && serverNow === server;
    if (serverNow === server && here - local <= STILL_MS) return;
  }
  if (!still || serverNow !== server) [server, local] = [serverNow, here];
}

/** Now, in milliseconds, by the server's clock. */
export function now(): number {
  if (!server) return Date.now();
  return still ? server : server + (Date.now() - local);
}
