/**
 * Preloaded (`node --import`) into a node that another process started over a pipe of its own: when that process ends,
 * however it ends, the pipe breaks and this one shuts down as SIGTERM would have it.
 */
process.on('disconnect', () => process.kill(process.pid, 'SIGTERM'));
// The pipe alone must not keep a process alive that is done.
process.channel?.unref();
