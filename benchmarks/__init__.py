"""Speed beside other implementations, in one run; trials of params. Threads wait as they do in the stages."""

from retinanet.threads import wait_without_spinning

wait_without_spinning()
