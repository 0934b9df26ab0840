import type { StateName } from "./timeline";
import { gql } from "./graphql";

export interface Stand {
  resource: string;
  namespace: string;
  name: string;
  uid: string;
  node: string;
  owner: string;
  state: StateName;
  text: string;
  complaint: string;
  revision: number;
}

type Row = [string, string, string, string, string, string, StateName, string, string, number];

export interface Standings {
  revision: number;
  hidden: number;
  cut: boolean;
  rows: Stand[];
}

/** How the objects of some resources stand, now or at a moment. */
export async function standing(resources: readonly string[], at: string | null, signal?: AbortSignal): Promise<Standings> {
  const query = "query($r: [String!]!, $at: Moment) { standing(resources: $r, at: $at) { revision hiddenObjects cut rows } }";
  const { standing: found } = await gql<{ standing: { revision: number; hiddenObjects: number; cut: boolean; rows: Row[] } }>(query, { r: resources, at }, signal);
  const rows = found.rows.map(([resource, namespace, name, uid, node, owner, state, text, complaint, revision]) => ({ resource, namespace, name, uid, node, owner, state, text, complaint, revision }));
  return { revision: found.revision, hidden: found.hiddenObjects, cut: found.cut, rows };
}
