const POLL_MS = 10;

/** Waits until `happened`, or the time. */
export async function until(happened: () => boolean, endsMs: number): Promise<void> {
  while (!happened()) {
    const leftMs = endsMs - performance.now();
    if (leftMs <= 0) return;
    await new Promise((resolve) => setTimeout(resolve, Math.min(POLL_MS, leftMs)));
  }
}
