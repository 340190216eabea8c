"""What a web process and the live process say to each other over their Unix socket.

    web  -> live   the upgrade request, with the connection's file descriptor
    live -> web    ROOM or FULL
    web  -> live   GO: web has let go of its own copy and will not answer any more

Without GO the live process drops its copy, so exactly one of the two ever answers.
"""

# The request and its descriptor travel in one message of at most this size.
MAX_REQUEST_BYTES = 16 * 1024

ROOM = b"+"
FULL = b"-"
GO = b"!"
