import type { JSX } from "react";

export function Brand(): JSX.Element {
  return (
    <svg viewBox="0 0 32 32" width="24" height="24" aria-hidden="true">
      <rect width="32" height="32" rx="7" fill="var(--hover)" />
      <rect x="6" y="8" width="14" height="4" rx="2" fill="var(--running)" />
      <rect x="6" y="14" width="20" height="4" rx="2" fill="var(--progressing)" />
      <rect x="12" y="20" width="14" height="4" rx="2" fill="var(--amber)" />
      <path d="M20 4v24" stroke="var(--text)" strokeWidth="1.5" />
    </svg>
  );
}
