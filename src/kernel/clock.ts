/** Time as the core may see it. The driver passes readings in; no core asks a global. */
export interface Clock {
  /** Wall clock, milliseconds since 1970. May jump; used only for versions and ages. */
  wallMs(): number;
  /** Monotonic clock, milliseconds from an arbitrary origin. Every timeout uses it (replication 1.5). */
  monotonicMs(): number;
}
