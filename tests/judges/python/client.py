#!/usr/bin/env python3
"""A client of Spindle that shares no code with it.

Made from the .proto files alone, with the usual tools of another language, it shows whether the
contract is enough to write a client. Its output is JSON, one document per line; its exit code is
0 when the call went through, 1 when the daemon answered with an error (which is printed to standard
error as JSON with the keys `code`, `message`, `reason`), and 2 for wrong usage.
"""

import argparse
import importlib
import json
import os
import pathlib
import sys
import tempfile

import grpc
from google.protobuf import json_format
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_tools import protoc

PROTO = pathlib.Path(__file__).resolve().parents[3] / "proto"


def generated(name):
    """Generates code for the whole contract and gives the two modules of one of its files."""
    with tempfile.TemporaryDirectory(prefix="spindle-stubs-") as directory:
        well_known = pathlib.Path(protoc.__file__).parent / "_proto"
        arguments = [
            "protoc",
            f"--proto_path={PROTO}",
            f"--proto_path={well_known}",
            f"--python_out={directory}",
            f"--grpc_python_out={directory}",
            *(str(path) for path in sorted(PROTO.rglob("*.proto"))),
        ]
        if protoc.main(arguments) != 0:
            sys.exit("protoc refused the .proto files")
        sys.path.insert(0, directory)
        messages = importlib.import_module(f"spindle.v1.{name}_pb2")
        stubs = importlib.import_module(f"spindle.v1.{name}_pb2_grpc")
        sys.path.remove(directory)
    return messages, stubs


def connect(socket):
    """Opens a channel to the daemon's socket.

    gRPC's C core would send the socket's path as the authority of the request, percent-encoded,
    which HTTP/2 servers refuse; so the authority is set by hand.
    """
    return grpc.insecure_channel(
        f"unix://{os.path.abspath(socket)}", options=[("grpc.default_authority", "localhost")]
    )


def show(message):
    """Prints one message as one line of JSON, with the field names of the .proto files."""
    print(
        json_format.MessageToJson(message, indent=None, preserving_proto_field_name=True), flush=True
    )


def start(channel, arguments):
    """Starts a run of the workflow `exec` and prints it as the daemon acknowledged it."""
    messages, stubs = generated("run")
    template = messages.RunTemplate(
        exec=messages.ExecSpec(
            argv=[os.fsencode(word) for word in arguments.argv],
            cwd=os.fsencode(os.path.abspath(arguments.cwd)),
        ),
        options=messages.StartOptions(
            name=arguments.name,
            environment=[
                messages.EnvironmentVariable(name="PATH", value=os.fsencode(os.environ["PATH"]))
            ],
        ),
    )
    request = messages.StartRunRequest(request_id=arguments.request_id, template=template)
    show(stubs.RunServiceStub(channel).StartRun(request, timeout=arguments.deadline))


def watch(channel, arguments):
    """Prints events, one line each, until the run has ended or enough of them have come."""
    messages, stubs = generated("run")
    request = messages.WatchEventsRequest(
        run=arguments.run, until_finished=bool(arguments.run), types=arguments.type
    )
    if arguments.after:
        request.after = arguments.after
    elif arguments.from_seq is not None:
        request.from_seq = arguments.from_seq
    events = stubs.RunServiceStub(channel).WatchEvents(request, timeout=arguments.deadline)
    for count, event in enumerate(events, start=1):
        show(event)
        if count == arguments.count:
            events.cancel()
            return


def reflect(channel, arguments):
    """Prints the names of all services, as the server's reflection gives them, sorted.

    The package from PyPI has messages for v1alpha only; those of v1 are the same on the wire.
    """
    call = channel.stream_stream(
        f"/grpc.reflection.{arguments.version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    answer = next(call(iter([request]), timeout=arguments.deadline))
    print(json.dumps(sorted(service.name for service in answer.list_services_response.service)))


def health(channel, arguments):
    """Prints the health of one service, or of the server as a whole when none is named."""
    request = health_pb2.HealthCheckRequest(service=arguments.service)
    show(health_pb2_grpc.HealthStub(channel).Check(request, timeout=arguments.deadline))


def error_of(failure):
    """What a failed call says: its status and the machine-readable reason, where it has one."""
    found = {"code": failure.code().name, "message": failure.details(), "reason": None}
    for key, value in failure.trailing_metadata() or ():
        if key != "grpc-status-details-bin":
            continue
        for detail in status_pb2.Status.FromString(value).details:
            info = error_details_pb2.ErrorInfo()
            if detail.Unpack(info):
                found["reason"] = info.reason
    return found


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--socket", default=os.environ.get("SPINDLE_SOCKET"), help="the daemon's socket")
    parser.add_argument("--deadline", type=float, default=30, help="seconds that the call may take")
    modes = parser.add_subparsers(required=True)

    mode = modes.add_parser("start", help="start a run of a command")
    mode.set_defaults(call=start)
    mode.add_argument("--name", default="")
    mode.add_argument("--cwd", default=".")
    mode.add_argument("--request-id", default="")
    mode.add_argument("argv", nargs="+", metavar="WORD", help="the command, after --")

    mode = modes.add_parser("watch", help="print events")
    mode.set_defaults(call=watch)
    mode.add_argument("run", nargs="?", default="", help="only events of this run, until it has ended")
    place = mode.add_mutually_exclusive_group()
    place.add_argument("--after", metavar="TOKEN", help="the token of the last event seen")
    place.add_argument("--from-seq", type=int, help="the first sequence number wanted")
    mode.add_argument("--type", action="append", default=[], help="only types that begin so")
    mode.add_argument("--count", type=int, help="stop after so many events")

    mode = modes.add_parser("reflect", help="list the services by reflection")
    mode.set_defaults(call=reflect)
    mode.add_argument("--version", choices=["v1", "v1alpha"], default="v1", help="of the reflection service")

    mode = modes.add_parser("health", help="ask for the health")
    mode.set_defaults(call=health)
    mode.add_argument("service", nargs="?", default="")

    arguments = parser.parse_args()
    if not arguments.socket:
        parser.error("no --socket and no SPINDLE_SOCKET")
    return arguments


def main():
    arguments = parse_arguments()
    try:
        with connect(arguments.socket) as channel:
            arguments.call(channel, arguments)
    except grpc.RpcError as failure:
        print(json.dumps(error_of(failure)), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
