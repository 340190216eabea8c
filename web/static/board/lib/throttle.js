/**
 * A function that runs `task` at most once per `ms`, and never twice at a time.
 * After the last call, `task` always runs once more.
 */
export function throttle(ms, task) {
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
