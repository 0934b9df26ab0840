import { useState, type JSX, type SyntheticEvent } from "react";
import { lookUp, signIn } from "../state/session";
import { Brand } from "./brand";

export function SignIn(): JSX.Element {
  const [token, setToken] = useState("");
  const [fault, setFault] = useState("");
  const [busy, setBusy] = useState(false);
  const submit = (event: SyntheticEvent): void => {
    event.preventDefault();
    setBusy(true);
    signIn(token.trim())
      .catch((error: unknown) => setFault(error instanceof Error ? error.message : "that did not work"))
      .finally(() => { setBusy(false); setToken(""); });
  };
  return (
    <div className="signin">
      <main className="card stack" style={{ width: "min(420px, 100%)", gap: 14, overflow: "visible" }}>
        <div className="row"><Brand /><h1>Sign in</h1></div>
        <p className="soft">The quickest way is the link that <code>ksql up</code> printed, or a new one: <code>ksql login</code>. It is good once.</p>
        <form className="stack" onSubmit={submit}>
          <label className="stack" style={{ gap: 4 }}>
            <span>Or a bearer token</span>
            <input className="field mono" type="password" autoComplete="off" value={token} onChange={(event) => setToken(event.target.value)} required />
          </label>
          <button className="button primary" style={{ justifyContent: "center" }} disabled={busy || !token}>Sign in</button>
          {fault ? <p className="bad" role="alert">{fault}</p> : null}
        </form>
        <div className="row wrap"><a className="button quiet small" href={`/login#next=${encodeURIComponent(window.location.pathname + window.location.search)}`}>Other ways to sign in</a><button type="button" className="button quiet small" onClick={() => void lookUp()}>I have signed in elsewhere</button></div>
        <p className="faint">The token is traded for a cookie that no script can read; it is not kept.</p>
      </main>
    </div>
  );
}
