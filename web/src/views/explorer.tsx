// GraphiQL, from its package and our own origin, with the saved questions of graphql/operations.
import { createGraphiQLFetcher } from "@graphiql/toolkit";
import { GraphiQL } from "graphiql";
import "graphiql/graphiql.css";
import { useMemo, type JSX } from "react";
import { ask } from "../api/http";

const SAVED = import.meta.glob<string>("../../../graphql/operations/*.graphql", { query: "?raw", import: "default", eager: true });

export default function Explorer(): JSX.Element {
  const fetcher = useMemo(() => {
    const address = new URL("/graphql", window.location.href);
    address.protocol = address.protocol.replace("http", "ws");
    return createGraphiQLFetcher({ url: "/graphql", subscriptionUrl: address.href, fetch: (input, init) => ask(typeof input === "string" ? input : "/graphql", init ?? {}) });
  }, []);
  const tabs = useMemo(() => Object.values(SAVED).map((query) => ({ query })), []);
  return (
    <div style={{ flex: 1, minHeight: 0 }}>
      <GraphiQL fetcher={fetcher} defaultTabs={tabs.slice(0, 8)} defaultEditorToolsVisibility="variables" />
    </div>
  );
}
