"""nginx, which passes on and does nothing else: the floor that all others are compared with."""

from __future__ import annotations

from typing import Final

from trunkline.benchmark.gateways.environments import DebianEnvironment
from trunkline.benchmark.gateways.gateway import Gateway, Place, Start, openai_asks
from trunkline.benchmark.workloads import Kind

_SETTINGS: Final = """\
daemon off;
user root;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  proxy_cache_path {folder}/cache keys_zone=answers:10m;
  client_max_body_size 16m;
  client_body_buffer_size 2m;
  keepalive_requests 100000000;
  upstream provider {{
    server 127.0.0.1:{upstream};
    keepalive 256;
    keepalive_requests 100000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=2048;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    location / {{
      proxy_pass http://provider;
    }}
    location /v1/chat/completions {{
      proxy_pass http://provider;
      proxy_buffering off;
    }}
    location /v1/realtime {{
      proxy_pass http://provider;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "Upgrade";
    }}
    location /cached/ {{
      proxy_pass http://provider/v1/;
      proxy_cache answers;
      proxy_cache_methods POST;
      proxy_cache_key "$uri $http_authorization $request_body";
      proxy_cache_valid 200 1d;
    }}
  }}
}}
"""


def _prepare(place: Place) -> Start:
    settings = place.folder / "nginx.conf"
    settings.write_text(
        _SETTINGS.format(folder=place.folder, port=place.port, upstream=place.upstream), encoding="utf-8"
    )
    asks = openai_asks(Kind.CHAT, Kind.SSE, Kind.REALTIME, Kind.LARGE)
    asks |= openai_asks(Kind.CACHE, base="/cached")
    return Start([place.home / "usr/sbin/nginx", "-c", settings, "-p", place.folder], asks)


NGINX: Final = Gateway(
    name="nginx",
    setup="`proxy_pass`, one worker, kept connections, no log: the floor, for it reads, checks and keeps nothing",
    environment=DebianEnvironment(("nginx",)),
    prepare=_prepare,
)
