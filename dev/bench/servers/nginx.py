"""nginx in front of the application, with and without upstream keep-alive."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from dev.bench.servers.stack import BenchServers, Program
from dev.children import LOOPBACK, free_port

# Usual locations outside most users' PATH.
_FOLDERS = ("/usr/sbin", "/usr/local/sbin")
_CONF = """\
daemon off;
{user}
pid "{folder}/nginx.pid";
error_log "{folder}/nginx-error.log";
events {{ worker_connections 4096; }}
http {{
    access_log off;
    # The generator keeps its connections for the whole load.
    keepalive_requests 100000000;
    client_body_temp_path "{folder}/nginx-body";
    proxy_temp_path "{folder}/nginx-proxy";
    fastcgi_temp_path "{folder}/nginx-fastcgi";
    uwsgi_temp_path "{folder}/nginx-uwsgi";
    scgi_temp_path "{folder}/nginx-scgi";
    upstream kept {{
        server {web};
        keepalive 64;
    }}
    server {{
        listen {host}:{plain};
        location / {{ proxy_pass http://{web}; }}
    }}
    server {{
        listen {host}:{keeping};
        location / {{
            proxy_pass http://kept;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"""


def find() -> str | None:
    """The nginx program, or None if it is not installed."""
    places = (os.environ.get("PATH", os.defpath), *_FOLDERS)
    return shutil.which("nginx", path=os.pathsep.join(places))


@contextmanager
def proxies(servers: BenchServers, program: str, web_port: int) -> Iterator[tuple[int, int]]:
    """Two proxy ports: with plain `proxy_pass`, and with upstream keep-alive."""
    plain, keeping = free_port(), free_port()
    conf = servers.folder / "nginx.conf"
    conf.write_text(
        _CONF.format(
            folder=servers.folder,
            host=LOOPBACK,
            plain=plain,
            keeping=keeping,
            user="user root;" if os.geteuid() == 0 else "",
            web=f"{LOOPBACK}:{web_port}",
        )
    )
    command = (program, "-p", str(servers.folder), "-c", str(conf))
    with Program("nginx", command, servers.environ, servers.folder).running() as nginx:
        nginx.await_ready(f"http://{LOOPBACK}:{keeping}/health")
        yield plain, keeping
