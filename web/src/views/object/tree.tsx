// Everything an object owns, and what owns it, with their states.
import type { JSX } from "react";
import { gql } from "../../api/graphql";
import { useData } from "../../state/data";
import { objectPath, to, type Ref } from "../../state/route";
import { Empty, FaultScreen, Link, Skeleton } from "../../ui/parts";

interface Node {
  kind: string;
  resource: string;
  namespace: string | null;
  name: string;
  owned?: { nodes: Node[]; totalCount: number };
}

const NAMES = "kind resource namespace name";
const OWNED = (inner: string, first = 40): string => `owned(first: ${first}) { totalCount nodes { ${NAMES} ${inner} } }`;
const QUERY = `query($resource: String, $namespace: String, $name: String, $at: Moment) { object(resource: $resource, namespace: $namespace, name: $name, at: $at) { ${NAMES} owners { ${NAMES} owners { ${NAMES} } } ${OWNED(OWNED("", 100), 40)} } }`;

export function Tree({ refers, at }: { refers: Ref; at: string | null }): JSX.Element {
  const found = useData<{ object: (Node & { owners: (Node & { owners: Node[] })[] }) | null }>(
    `tree ${refers.resource}/${refers.namespace}/${refers.name} ${at ?? ""}`,
    (signal) => gql(QUERY, { resource: refers.resource, namespace: refers.namespace || null, name: refers.name, at }, signal),
  );
  if (found.fault) return <FaultScreen fault={found.fault} again={found.again} />;
  if (!found.data) return <Skeleton />;
  const object = found.data.object;
  if (!object) return <Empty title="It did not exist at this moment" />;
  const above = object.owners.flatMap((one) => [...one.owners, one]);
  return (
    <div className="card tree">
      {above.map((one) => <div key={one.kind + one.name} className="row"><span className="faint">owned by</span><Name node={one} /></div>)}
      <Branch node={object} />
      {object.owned?.totalCount ? null : <p className="soft">It owns nothing{at ? " at this moment" : ""}.</p>}
    </div>
  );
}

function Name({ node }: { node: Node }): JSX.Element {
  return <><span className="soft">{node.kind}</span> <Link href={to(objectPath({ resource: node.resource, namespace: node.namespace ?? "", name: node.name }))}>{node.name}</Link></>;
}

function Branch({ node }: { node: Node }): JSX.Element {
  return (
    <div>
      <Name node={node} />
      {node.owned?.nodes.length ? (
        <ul>
          {node.owned.nodes.map((one) => <li key={one.resource + one.name}><Branch node={one} /></li>)}
          {node.owned.totalCount > node.owned.nodes.length ? <li className="soft">and {node.owned.totalCount - node.owned.nodes.length} more</li> : null}
        </ul>
      ) : null}
    </div>
  );
}
