#include "tests/differential/requests.h"
#include "tests/differential/scenarios.h"

namespace millrace::differential {
namespace {

using namespace protocol;

void compare_log_dirs(Comparison& c) {
  set_up(c, {{"dirs-a", 2}, {"dirs-b", 1}});
  append(c, "dirs-a", 1, batch({.records = 10}));
  const auto request = [](Call& call, std::vector<std::pair<std::string, std::vector<int32_t>>> wanted) {
    std::vector<DescribeLogDirsRequest::Topic> topics;
    for (const auto& [name, partitions] : wanted)
      topics.push_back({.topic = call.arena.copy(name), .partitions = call.arena.copy(partitions)});
    DescribeLogDirsRequest request;
    request.topics = call.arena.copy(topics);
    return request;
  };
  c.in_versions<DescribeLogDirsRequest>([&](int16_t v) {
    c.ask("one partition", v, [&](Call& call) { return request(call, {{"dirs-a", {1}}}); });
    c.ask("all partitions of two topics", v, [&](Call& call) {
      return request(call, {{"dirs-a", {0, 1}}, {"dirs-b", {0}}});
    });
    c.ask("unknown partition and topic", v, [&](Call& call) {
      return request(call, {{"dirs-a", {7}}, {"dirs-none", {0}}});
    });
    c.ask("no topic", v, [&](Call& call) { return request(call, {}); });
    c.ask("all topics", v, [](Call&) { return DescribeLogDirsRequest{}; });
  });
}

}  // namespace

void compare_cluster(Comparison& c) {
  c.in_versions<ApiVersionsRequest>([&](int16_t v) {
    c.ask("valid", v, [&](Call& call) {
      ApiVersionsRequest request;
      if (call.version >= 3) request.client_software_name = request.client_software_version = "x";
      return request;
    });
    if (v < 3) return;
    c.ask("no software name", v, [](Call&) { return ApiVersionsRequest{"", "1"}; });
    c.ask("bad software name", v, [](Call&) { return ApiVersionsRequest{"a b/c", "1"}; });
    c.ask("bad software version", v, [](Call&) { return ApiVersionsRequest{"a", "-1-"}; });
  });
  c.in_versions<DescribeClusterRequest>([&](int16_t v) {
    c.ask("plain", v, [](Call&) { return DescribeClusterRequest{}; });
    c.ask("with operations", v, [](Call&) {
      DescribeClusterRequest request;
      request.include_cluster_authorized_operations = true;
      return request;
    });
    if (v >= 1) {
      for (const int8_t type : {0, 2, 3}) {
        c.ask("endpoint type " + std::to_string(type), v, [type](Call&) {
          DescribeClusterRequest request;
          request.endpoint_type = type;
          return request;
        });
      }
    }
    if (v >= 2) {
      c.ask("with fenced brokers", v, [](Call&) {
        DescribeClusterRequest request;
        request.include_fenced_brokers = true;
        return request;
      });
    }
  });
  c.in_versions<ListConfigResourcesRequest>([&](int16_t v) {
    c.ask("all", v, [](Call&) { return ListConfigResourcesRequest{}; });
    if (v == 0) return;
    for (const int8_t type : {2, 4, 8, 16, 32, 1, 99}) {
      c.ask("type " + std::to_string(type), v, [type](Call& call) {
        ListConfigResourcesRequest request;
        request.resource_types = call.arena.copy(std::vector<int8_t>{type});
        return request;
      });
    }
  });
  compare_log_dirs(c);
}

}  // namespace millrace::differential
