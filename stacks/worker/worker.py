"""Does jobs: takes each from the queue, and leaves its result. A job is done at most once: one whose
worker is killed is gone. A list of what is being done (BLMOVE) would make it at least once."""

import os
import signal
import sys
import time

import redis

queue = redis.Redis(os.environ.get("REDIS_HOST", "localhost"))


def work(job):
    return job.upper()


def main():
    # Freehold asks it to stop with SIGTERM.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        try:
            if taken := queue.blpop("jobs", timeout=5):
                _, job = taken
                queue.lpush("results", work(job))
                queue.ltrim("results", 0, 99)
                print("did", job)
        except redis.RedisError as error:
            print("the queue cannot be reached:", error)
            time.sleep(1)


if __name__ == "__main__":
    main()
