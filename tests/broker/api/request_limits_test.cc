// What one request may take of the broker: memory while it waits, memory while it is answered, and time.
#include "broker/api/request_limits.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "protocol/messages/delete_groups.h"
#include "protocol/messages/describe_groups.h"
#include "protocol/messages/fetch.h"
#include "protocol/messages/heartbeat.h"
#include "protocol/messages/join_group.h"
#include "protocol/messages/leave_group.h"
#include "protocol/messages/sync_group.h"
#include "tests/broker/api/requests.h"

using namespace millrace;
using namespace millrace::api;
using namespace millrace::protocol;

namespace {

const TestBroker::Settings kLittleMemory = {{"socket.request.max.bytes", "4194304"},
                                            {"queued.max.request.bytes", "8388608"},
                                            {"group.initial.rebalance.delay.ms", "0"},
                                            {"offsets.topic.num.partitions", "3"}};
constexpr int32_t kLongMs = 1'800'000;

// The request with an unknown tagged field of so many bytes at its end.
template <class Request>
void send_padded(TestClient& client, const Request& request, int16_t version, size_t padding) {
  Writer writer;
  REQUIRE(encode(RequestHeader{Request::kApi, version, 1, "test"}, writer));
  REQUIRE(encode(request, version, writer));
  Buffer frame = writer.take();
  REQUIRE(frame.back() == std::byte{0});  // no tagged fields
  frame.back() = std::byte{1};
  frame.push_back(std::byte{77});
  for (size_t left = padding;; left >>= 7) {
    frame.push_back(static_cast<std::byte>(left < 0x80 ? left : (left & 0x7f) | 0x80));
    if (left < 0x80) break;
  }
  frame.resize(frame.size() + padding, std::byte{'z'});
  client.send_frame(frame);
}

JoinGroupRequest join_request(std::string_view member, std::vector<JoinGroupRequest::Protocol>& protocols) {
  JoinGroupRequest request;
  request.group_id = "group";
  request.session_timeout_ms = kLongMs;
  request.rebalance_timeout_ms = kLongMs;
  request.member_id = member;
  request.protocol_type = "consumer";
  request.protocols = protocols;
  return request;
}

JoinGroupResponse join(TestClient& client, std::string_view member) {
  std::vector<JoinGroupRequest::Protocol> protocols = {{"range", {}}};
  return client.call<JoinGroupResponse>(join_request(member, protocols), 9);
}

// Two shards, three quarters of 4 MiB each for large frames: eight of these are more than that.
constexpr size_t kParked = 8;
constexpr size_t kPaddingBytes = 2 << 20;

void check_large_produce(TestBroker& broker) {
  for (int i = 0; i < 4; ++i) {
    TestClient client(broker.port());
    produce(client, "topic", 0, batch_of({std::string(500'000, 'v')}));
  }
}

}  // namespace

TEST_CASE("Joins that wait for the others don't hold the memory of requests", "[limits]") {
  TestBroker broker(kLittleMemory);
  TestClient client(broker.port());
  create_topic(client, "topic");
  find(client, "group");
  const std::string leader(join(client, "").member_id);
  const auto joined = join(client, leader);
  REQUIRE(joined.error_code == ErrorCode::kNone);
  SyncGroupRequest sync;
  sync.group_id = "group";
  sync.generation_id = joined.generation_id;
  sync.member_id = leader;
  sync.protocol_type = "consumer";
  sync.protocol_name = "range";
  REQUIRE(client.call<SyncGroupResponse>(sync, 5).error_code == ErrorCode::kNone);
  // The leader doesn't join again, so all who join wait for it.
  std::vector<JoinGroupRequest::Protocol> protocols = {{"range", {}}};
  std::vector<std::unique_ptr<TestClient>> parked;
  std::vector<std::thread> sending;
  for (size_t i = 0; i < kParked; ++i) {
    const std::string member(join(client, "").member_id);
    TestClient& one = *parked.emplace_back(std::make_unique<TestClient>(broker.port()));
    sending.emplace_back(
        [&, member] { send_padded(one, join_request(member, protocols), 9, kPaddingBytes); });
  }
  for (std::thread& one : sending) one.join();
  check_large_produce(broker);
}

TEST_CASE("Fetches that wait for records don't hold the memory of requests", "[limits]") {
  TestBroker broker(kLittleMemory);
  TestClient client(broker.port());
  create_topic(client, "topic");
  std::vector<FetchRequest::Topic::Partition> partitions(1);
  partitions[0].partition_max_bytes = 1 << 20;
  std::vector<FetchRequest::Topic> topics(1);
  topics[0].topic = "topic";
  topics[0].partitions = partitions;
  FetchRequest fetch;
  fetch.replica_id = -1;
  fetch.max_wait_ms = kLongMs;
  fetch.min_bytes = 1 << 30;
  fetch.max_bytes = 1 << 30;
  fetch.session_epoch = -1;
  fetch.topics = topics;
  std::vector<std::unique_ptr<TestClient>> parked;
  std::vector<std::thread> sending;
  for (size_t i = 0; i < kParked; ++i) {
    TestClient& one = *parked.emplace_back(std::make_unique<TestClient>(broker.port()));
    sending.emplace_back([&] { send_padded(one, fetch, 12, kPaddingBytes); });
  }
  for (std::thread& one : sending) one.join();
  check_large_produce(broker);
}

TEST_CASE("A fetch of very many partitions is answered soon", "[limits]") {
  TestBroker broker;
  TestClient client(broker.port());
  create_topic(client, "topic");
  std::vector<FetchRequest::Topic::Partition> partitions(RequestLimits::kFewElements + 1);
  for (size_t i = 0; i < partitions.size(); ++i) partitions[i].partition = static_cast<int32_t>(i);
  std::vector<FetchRequest::Topic> topics(2);
  topics[0].topic = "topic";
  topics[0].partitions = Array<FetchRequest::Topic::Partition>(partitions.data(), 1);
  topics[1].topic = "unknown";
  topics[1].partitions = partitions;
  FetchRequest fetch;
  fetch.replica_id = -1;
  fetch.max_wait_ms = kLongMs;
  fetch.min_bytes = 1;
  fetch.max_bytes = 1 << 20;
  fetch.session_epoch = -1;
  fetch.topics = topics;
  CHECK(client.call<FetchResponse>(fetch, 12).responses.size() == 2);
}

TEST_CASE("A request that names more than any client does closes the connection, and only that", "[limits]") {
  TestBroker broker;
  TestClient bystander(broker.port());
  find(bystander, "group");
  std::vector<LeaveGroupRequest::Member> members(RequestLimits::kMostElements + 1);
  LeaveGroupRequest leave;
  leave.group_id = "group";
  leave.members = members;
  {
    TestClient client(broker.port());
    client.send(leave, 5);
    CHECK_FALSE(client.receive_frame());
  }
  leave.members = Array<LeaveGroupRequest::Member>(members.data(), RequestLimits::kMostElements);
  TestClient client(broker.port());
  CHECK(client.call<LeaveGroupResponse>(leave, 5).members.size() == RequestLimits::kMostElements);
  find(bystander, "group");
}

TEST_CASE("Requests about very many groups let others have their turn", "[limits]") {
  TestBroker broker({{"offsets.topic.num.partitions", "3"}, {"shards", "1"}});
  TestClient client(broker.port());
  TestClient bystander(broker.port());
  find(bystander, "group");
  constexpr size_t kGroups = RequestLimits::kMostElements;
  std::vector<std::string> names(kGroups);
  for (size_t i = 0; i < kGroups; ++i) names[i] = std::to_string(i);
  std::vector<std::string_view> views(names.begin(), names.end());
  DeleteGroupsRequest remove;
  remove.groups_names = views;
  DescribeGroupsRequest describe;
  describe.groups = views;
  const bool describes = GENERATE(false, true);
  HeartbeatRequest heartbeat;
  heartbeat.group_id = "group";
  heartbeat.member_id = "nobody";
  std::atomic<bool> answered = false;
  std::thread large([&] {
    describes ? client.send(describe, 5) : client.send(remove, 2);
    client.receive_frame();
    answered = true;
  });
  int answers = 0;
  for (; !answered; ++answers) bystander.call<HeartbeatResponse>(heartbeat, 4);
  large.join();
  // Some before and after it come in any case.
  CHECK(answers > 10);
}
