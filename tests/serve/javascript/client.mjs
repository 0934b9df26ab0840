// What a page does with graphql-ws: asks, changes, follows, loses its connection and goes on where it was.
import { createClient } from "graphql-ws";
import WebSocket from "ws";

const [url, count] = process.argv.slice(2);
let socket;
const client = createClient({
  url,
  webSocketImpl: WebSocket,
  lazyCloseTimeout: 1000,
  retryAttempts: 5,
  on: { opened: (opened) => (socket = opened) },
});
const say = (what) => console.log(JSON.stringify(what));
const once = async (query, variables) => {
  for await (const answer of client.iterate({ query, variables })) return answer;
};

say({ head: (await once("{ head }")).data.head });
say({ code: (await once("subscription { events(after: 99999) { revision } }")).errors[0].extensions.code });
try {
  await once("{ haed }");
} catch (errors) {
  say({ refused: errors[0].extensions.code });
}

const query = "subscription($after: Revision) { events(after: $after) { revision } }";
const seen = [];
let after = 0;
while (seen.length < Number(count)) {
  // The connection breaks after some answers, without a goodbye.
  let left = 7;
  try {
    for await (const answer of client.iterate({ query, variables: { after } })) {
      after = answer.data.events.revision;
      seen.push(after);
      if (seen.length >= Number(count)) break;
      if (--left === 0) {
        socket.terminate();
        break;
      }
    }
  } catch (error) {
    if (!error.code) throw error;
  }
}
say({ seen });
await client.dispose();
