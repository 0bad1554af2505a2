// The raw client of consumer groups: many members in one process and one thread, so that the broker and not
// they are what gets measured. Prints one JSON object.
//
//   bench_group_client rebalance        --broker HOST:PORT --topic T --protocol classic|consumer [...]
//   bench_group_client commit           --broker HOST:PORT --topic T [...]   as fast as they are acknowledged
//   bench_group_client fill             --broker HOST:PORT --topic T [...]   one commit for every group
//   bench_group_client await-positions  --broker HOST:PORT --topic T [...]   until all of these are answered
//
// --server-pid is the process whose CPU time is measured. The other options are those of the structs in
// rebalance.h and commit_load.h. `await-positions` prints when the last came, in ns of CLOCK_MONOTONIC.
#include <cstdio>

#include "tests/bench/arguments.h"
#include "tests/bench/commit_load.h"
#include "tests/bench/rebalance.h"
#include "tools/json.h"

namespace millrace::bench {
namespace {

using tools::Json;

constexpr const char* kModes = "the modes are rebalance, commit, fill, await-positions";

CommitOptions read_commits(Arguments& arguments) {
  CommitOptions options;
  options.broker = arguments.text("broker");
  options.topic = arguments.text("topic");
  options.partitions = static_cast<int32_t>(arguments.number("partitions", options.partitions));
  options.server_pid = static_cast<pid_t>(arguments.number("server-pid", 0));
  options.connections = static_cast<size_t>(arguments.number("connections", 1));
  options.groups = static_cast<size_t>(arguments.number("groups", 100));
  options.prefix = arguments.text("prefix", options.prefix);
  options.depth = static_cast<size_t>(arguments.number("depth", 1));
  options.awaits_coordinators = arguments.number("await-coordinators", 1) != 0;
  options.warmup_ms = arguments.number("warmup-ms", options.warmup_ms);
  options.measure_ms = arguments.number("measure-ms", options.measure_ms);
  arguments.refuse_unknown();
  return options;
}

Json commit(Arguments& arguments) {
  const LoadResult result = run_commits(read_commits(arguments));
  Json json = Json::object();
  json.set("records", result.records).set("requests", result.requests).set("seconds", result.seconds);
  json.set("user_s", result.cpu.user_s).set("system_s", result.cpu.system_s);
  json.set("p50_us", result.latency.percentile_us(0.5)).set("p99_us", result.latency.percentile_us(0.99));
  return json;
}

Json as_json(const RebalancePhase& phase) {
  Json json = Json::object();
  json.set("ms", phase.ms).set("cpu_s", phase.cpu_s).set("requests", phase.requests);
  return json;
}

Json rebalance(Arguments& arguments) {
  RebalanceOptions options;
  options.broker = arguments.text("broker");
  options.topic = arguments.text("topic");
  options.group = arguments.text("group");
  const std::string protocol = arguments.text("protocol");
  options.partitions = static_cast<int32_t>(arguments.number("partitions", options.partitions));
  options.members = static_cast<size_t>(arguments.number("members", 100));
  options.server_pid = static_cast<pid_t>(arguments.number("server-pid", 0));
  options.heartbeat_ms = arguments.number("heartbeat-ms", 0);
  arguments.refuse_unknown();
  const RebalanceResult result =
      protocol == "classic" ? run_classic_rebalance(options) : run_consumer_rebalance(options);
  Json json = Json::object();
  json.set("first", as_json(result.first)).set("leave", as_json(result.leave));
  json.set("join", as_json(result.join));
  return json;
}

void run(const std::string& mode, Arguments arguments) {
  Json json = Json::object();
  if (mode == "rebalance") {
    json = rebalance(arguments);
  } else if (mode == "commit") {
    json = commit(arguments);
  } else if (mode == "fill") {
    fill_positions(read_commits(arguments));
  } else if (mode == "await-positions") {
    json.set("answered_ns", await_positions(read_commits(arguments)));
  } else {
    throw std::runtime_error(kModes);
  }
  std::puts(json.dump().c_str());
}

}  // namespace
}  // namespace millrace::bench

int main(int argc, char** argv) {
  using namespace millrace::bench;
  return run_mode("bench_group_client", kModes, run, argc, argv);
}
