/**
 * `task` at a bearable pace: many calls make one run at a time, and at most one in `ms`.
 * The last call always has a run that begins after it.
 */
export function paced(ms, task) {
  let [isWanted, isRunning] = [false, false];
  const run = async () => {
    isRunning = true;
    while (isWanted) {
      isWanted = false;
      await Promise.all([task(), new Promise((resume) => setTimeout(resume, ms))]);
    }
    isRunning = false;
  };
  return () => {
    isWanted = true;
    if (!isRunning) run();
  };
}
