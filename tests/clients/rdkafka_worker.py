"""Members with whichever librdkafka is installed, driven by lines of JSON."""

import collections
import json
import sys

from rdkafka_member import RdkafkaThread

MEMBERS = {}


def open_member(request):
    MEMBERS[request["member"]] = RdkafkaThread(request["settings"], request["topic"], collections.deque())
    return {}


def look_at_member(request):
    member = MEMBERS[request["member"]]
    values = [member.handled.popleft() for _ in range(len(member.handled))]
    failure = None if member.failure is None else repr(member.failure)
    return {"values": values, "assigned": member.assigned, "failure": failure}


def close_member(request):
    MEMBERS[request["member"]].close()
    seen = look_at_member(request)
    del MEMBERS[request["member"]]
    return seen


def main():
    operations = {"open_member": open_member, "look_at_member": look_at_member, "close_member": close_member}
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(operations[request["operation"]](request)), flush=True)


main()
