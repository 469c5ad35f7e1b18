"""`python -m functions.s3source`: poll until SIGTERM."""

from __future__ import annotations

import os
import signal
import sys

import boto3
from botocore.config import Config

from functions.s3source.ingress import Ingress
from functions.s3source.poller import Poller
from functions.s3source.settings import Settings
from functions.shared.config import ConfigError, load


def main() -> int:
    """0 after SIGTERM, within a poll's length; 1 with what is wrong on standard error."""
    try:
        settings = load(Settings, os.environ)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    config = Config(
        connect_timeout=5,
        read_timeout=settings.wait_seconds + 10,
        retries={"total_max_attempts": 2, "mode": "standard"},
    )
    queue = boto3.client(
        "sqs",
        region_name=settings.s3_region,
        endpoint_url=settings.sqs_endpoint,
        aws_access_key_id=settings.aws_access_key_id,
        aws_secret_access_key=settings.aws_secret_access_key,
        config=config,
    )
    poller = Poller(
        queue=queue,
        url=settings.queue_url,
        bucket=settings.s3_bucket,
        post=Ingress(settings.k_sink).post,
        alive=settings.alive_file,
        wait=settings.wait_seconds,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: poller.stop.set())
    poller.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
