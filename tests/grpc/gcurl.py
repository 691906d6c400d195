#!/usr/bin/env python3
"""What grpcurl does, as far as the README uses it, on Python's grpcio: nothing in here is ours but the glue.

It knows no .proto file: services, methods and messages come from the server by reflection.

    gcurl.py [-plaintext] [-cacert F] [-cert F] [-key F] [-servername NAME] [-d JSON] [-max N] ADDRESS list
    gcurl.py ... ADDRESS describe SERVICE
    gcurl.py ... ADDRESS SERVICE/METHOD

Prints one JSON object per reply. A gRPC error goes to standard error as `CODE: words` and ends with status 1.
"""
import argparse
import json
import sys

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

PATIENCE_SECONDS = 30


def arguments():
    parser = argparse.ArgumentParser(add_help=True)
    parser.add_argument("-plaintext", action="store_true")
    parser.add_argument("-cacert")
    parser.add_argument("-cert")
    parser.add_argument("-key")
    parser.add_argument("-servername")
    parser.add_argument("-d", default="{}")
    parser.add_argument("-max", type=int, default=0, help="end a stream after so many replies")
    parser.add_argument("address")
    parser.add_argument("what", nargs="+")
    return parser.parse_args()


def read(path):
    with open(path, "rb") as file:
        return file.read()


def channel_to(options):
    if options.plaintext:
        return grpc.insecure_channel(options.address)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=read(options.cacert), private_key=read(options.key), certificate_chain=read(options.cert)
    )
    settings = [("grpc.ssl_target_name_override", options.servername)] if options.servername else []
    return grpc.secure_channel(options.address, credentials, options=settings)


def show(message):
    print(json_format.MessageToJson(message, preserving_proto_field_name=True), flush=True)


def call(channel, pool, name, text, most):
    service_name, method_name = name.rsplit("/", 1)
    method = pool.FindServiceByName(service_name).FindMethodByName(method_name)
    request = json_format.Parse(text, message_factory.GetMessageClass(method.input_type)())
    make = channel.unary_stream if method.server_streaming else channel.unary_unary
    invoke = make(
        f"/{service_name}/{method_name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
    )
    if not method.server_streaming:
        show(invoke(request, timeout=PATIENCE_SECONDS))
        return
    for count, reply in enumerate(invoke(request), start=1):
        show(reply)
        if count == most:
            return


def main():
    options = arguments()
    channel = channel_to(options)
    database = ProtoReflectionDescriptorDatabase(channel)
    pool = descriptor_pool.DescriptorPool(database)
    try:
        if options.what == ["list"]:
            print("\n".join(sorted(database.get_services())))
        elif options.what[0] == "describe":
            service = pool.FindServiceByName(options.what[1])
            print(json.dumps({m.name: [m.input_type.full_name, m.output_type.full_name] for m in service.methods}))
        else:
            call(channel, pool, options.what[0], options.d, options.max)
    except grpc.RpcError as error:
        print(f"{error.code().name}: {error.details()}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
