#include <algorithm>
#include <chrono>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "broker/api/answer_limit.h"
#include "protocol/messages/consumer_group_describe.h"
#include "protocol/messages/consumer_group_heartbeat.h"
#include "protocol/messages/delete_groups.h"
#include "protocol/messages/describe_groups.h"
#include "protocol/messages/heartbeat.h"
#include "protocol/messages/join_group.h"
#include "protocol/messages/offset_commit.h"
#include "protocol/messages/offset_fetch.h"
#include "protocol/messages/sync_group.h"
#include "tests/broker/api/requests.h"

using namespace millrace;
using namespace millrace::api;
using namespace millrace::protocol;

namespace {

const TestBroker::Settings kNoDelay = {{"group.initial.rebalance.delay.ms", "0"},
                                       {"offsets.topic.num.partitions", "3"}};

JoinGroupRequest join_request(std::string_view group, std::vector<JoinGroupRequest::Protocol>& protocols) {
  JoinGroupRequest request;
  request.group_id = group;
  request.session_timeout_ms = 60'000;
  request.rebalance_timeout_ms = 60'000;
  request.protocol_type = "consumer";
  request.protocols = protocols;
  return request;
}

// The group's only member, and its leader. Returns the generation.
int32_t join_and_sync(TestClient& client, std::string_view group, std::string& member, Bytes metadata) {
  find(client, group);
  std::vector<JoinGroupRequest::Protocol> protocols = {{"range", metadata}};
  const auto joined = client.call<JoinGroupResponse>(join_request(group, protocols), 3);
  REQUIRE(joined.error_code == ErrorCode::kNone);
  member = std::string(joined.member_id);
  SyncGroupRequest sync;
  sync.group_id = group;
  sync.generation_id = joined.generation_id;
  sync.member_id = member;
  const int32_t generation = joined.generation_id;
  REQUIRE(client.call<SyncGroupResponse>(sync, 3).error_code == ErrorCode::kNone);
  return generation;
}

DescribeGroupsResponse describe(TestClient& client, std::vector<std::string_view> groups,
                                int16_t version = 5) {
  DescribeGroupsRequest request;
  request.groups = groups;
  return client.call<DescribeGroupsResponse>(request, version);
}

void send_commit(TestClient& client, std::string_view group, int64_t offset, std::string_view metadata) {
  std::vector<OffsetCommitRequest::Topic::Partition> partitions(1);
  partitions[0].committed_offset = offset;
  partitions[0].committed_metadata = metadata;
  std::vector<OffsetCommitRequest::Topic> topics(1);
  topics[0].name = "orders";
  topics[0].partitions = partitions;
  OffsetCommitRequest request;
  request.group_id = group;
  request.generation_id_or_member_epoch = -1;
  request.topics = topics;
  client.send(request, 8);
}

OffsetCommitRequest member_commit(std::string_view group, std::string_view member, int32_t generation,
                                  std::vector<OffsetCommitRequest::Topic>& topics) {
  OffsetCommitRequest request;
  request.group_id = group;
  request.member_id = member;
  request.generation_id_or_member_epoch = generation;
  request.topics = topics;
  return request;
}

void commit(TestClient& client, std::string_view group, std::string_view topic, int32_t partition) {
  std::vector<OffsetCommitRequest::Topic::Partition> partitions(1);
  partitions[0].partition_index = partition;
  partitions[0].committed_offset = partition;
  partitions[0].committed_metadata = "note";
  std::vector<OffsetCommitRequest::Topic> topics(1);
  topics[0].name = topic;
  topics[0].partitions = partitions;
  OffsetCommitRequest request;
  request.group_id = group;
  request.generation_id_or_member_epoch = -1;
  request.topics = topics;
  const auto response = client.call<OffsetCommitResponse>(request, 8);
  REQUIRE(response.topics.size() == 1);
  REQUIRE(response.topics[0].partitions[0].error_code == ErrorCode::kNone);
}

}  // namespace

TEST_CASE("A group that a request names twice is answered once") {
  TestBroker broker(kNoDelay);
  TestClient client(broker.port());
  std::string member;
  join_and_sync(client, "twice", member, as_bytes("metadata"));
  find(client, "none");

  const auto described = describe(client, {"twice", "none", "twice", "twice"});
  REQUIRE(described.groups.size() == 2);
  CHECK(described.groups[0].group_id == "twice");
  CHECK(described.groups[0].members.size() == 1);
  CHECK(described.groups[1].group_id == "none");

  ConsumerGroupDescribeRequest request;
  std::vector<std::string_view> groups = {"none", "twice", "none"};
  request.group_ids = groups;
  const auto consumers = client.call<ConsumerGroupDescribeResponse>(request, 1);
  REQUIRE(consumers.groups.size() == 2);
  CHECK(consumers.groups[0].group_id == "none");
  CHECK(consumers.groups[1].group_id == "twice");

  DeleteGroupsRequest removal;
  removal.groups_names = groups;
  const auto removed = client.call<DeleteGroupsResponse>(removal, 2);
  REQUIRE(removed.results.size() == 2);
  CHECK(removed.results[0].error_code == ErrorCode::kGroupIdNotFound);
  CHECK(removed.results[1].error_code == ErrorCode::kNonEmptyGroup);
}

TEST_CASE("Each position of a commit gets its own answer") {
  using Partition = OffsetCommitRequest::Topic::Partition;
  TestBroker broker(kNoDelay);
  TestClient client(broker.port());
  create_topic(client, "orders", 3);
  create_topic(client, "refunds", 3);
  find(client, "mixed");
  const std::string too_long(5'000, 'm');
  const auto positions = [&](std::vector<std::pair<int32_t, std::string_view>> of) {
    std::vector<Partition> partitions(of.size());
    for (size_t i = 0; i < of.size(); ++i) {
      partitions[i].partition_index = of[i].first;
      partitions[i].committed_offset = static_cast<int64_t>(i);
      partitions[i].committed_metadata = of[i].second;
    }
    return partitions;
  };
  std::vector<std::vector<Partition>> parts = {
      positions({{7, ""}, {0, ""}, {1, too_long}, {2, "note"}, {0, ""}}),
      positions({{0, ""}}),
      positions({{0, too_long}, {1, too_long}}),
      {},
      positions({{2, ""}, {-1, ""}, {1, too_long}}),
  };
  const std::vector<std::string_view> names = {"orders", "nothing", "refunds", "orders", "refunds"};
  std::vector<OffsetCommitRequest::Topic> topics(parts.size());
  for (size_t i = 0; i < parts.size(); ++i) {
    topics[i].name = names[i];
    topics[i].partitions = parts[i];
  }
  OffsetCommitRequest request;
  request.group_id = "mixed";
  request.generation_id_or_member_epoch = -1;
  request.topics = topics;
  const auto response = client.call<OffsetCommitResponse>(request, 8);
  const auto errors = [&](size_t topic) {
    std::vector<ErrorCode> found;
    for (const auto& partition : response.topics[topic].partitions) found.push_back(partition.error_code);
    return found;
  };
  constexpr ErrorCode kUnknown = ErrorCode::kUnknownTopicOrPartition;
  constexpr ErrorCode kTooLong = ErrorCode::kOffsetMetadataTooLarge;
  constexpr ErrorCode kNone = ErrorCode::kNone;
  REQUIRE(response.topics.size() == 4);  // nothing is said of the one without partitions
  CHECK(errors(0) == std::vector{kUnknown, kNone, kTooLong, kNone, kNone});
  CHECK(errors(1) == std::vector{kUnknown});
  CHECK(errors(2) == std::vector{kTooLong, kTooLong});
  CHECK(errors(3) == std::vector{kNone, kUnknown, kTooLong});

  request.generation_id_or_member_epoch = 5;  // nobody's
  const auto refused = client.call<OffsetCommitResponse>(request, 8);
  REQUIRE(refused.topics.size() == 4);
  CHECK(refused.topics[0].partitions[0].error_code == kUnknown);
  CHECK(refused.topics[0].partitions[2].error_code == refused.topics[0].partitions[1].error_code);
  CHECK(refused.topics[0].partitions[1].error_code != kNone);
}

TEST_CASE("Positions that a request asks for twice are answered once") {
  TestBroker broker(kNoDelay);
  TestClient client(broker.port());
  create_topic(client, "orders", 3);
  find(client, "twice");
  commit(client, "twice", "orders", 0);
  commit(client, "twice", "orders", 1);

  std::vector<int32_t> first = {0, 0, 2, 0};
  std::vector<int32_t> second = {1, 0};
  std::vector<OffsetFetchRequest::Group::Topic> topics(2);
  topics[0].name = topics[1].name = "orders";
  topics[0].partition_indexes = first;
  topics[1].partition_indexes = second;
  std::vector<OffsetFetchRequest::Group::Topic> more(1);
  more[0].name = "not-there";
  more[0].partition_indexes = second;
  std::vector<OffsetFetchRequest::Group> groups(3);
  groups[0].group_id = groups[2].group_id = "twice";
  groups[0].topics = Array<OffsetFetchRequest::Group::Topic>(topics);
  groups[1].group_id = "none";
  groups[1].topics = Array<OffsetFetchRequest::Group::Topic>(more);
  groups[2].topics = Array<OffsetFetchRequest::Group::Topic>(more);
  find(client, "none");
  OffsetFetchRequest request;
  request.groups = groups;
  const auto fetched = client.call<OffsetFetchResponse>(request, 8);
  REQUIRE(fetched.groups.size() == 2);
  CHECK(fetched.groups[0].group_id == "twice");
  CHECK(fetched.groups[1].group_id == "none");
  REQUIRE(fetched.groups[0].topics.size() == 2);
  const auto& orders = fetched.groups[0].topics[0];
  CHECK(orders.name == "orders");
  REQUIRE(orders.partitions.size() == 3);
  const std::vector<int64_t> offsets = {0, 1, -1};
  for (size_t i = 0; i < 3; ++i) {
    CHECK(orders.partitions[i].partition_index == static_cast<int32_t>(i));
    CHECK(orders.partitions[i].committed_offset == offsets[i]);
  }
  CHECK(fetched.groups[0].topics[1].name == "not-there");

  SECTION("all of a group is more than some of it") {
    groups[2].topics.reset();
    const auto all = client.call<OffsetFetchResponse>(request, 8);
    REQUIRE(all.groups.size() == 2);
    REQUIRE(all.groups[0].topics.size() == 1);
    CHECK(all.groups[0].topics[0].partitions.size() == 2);
  }
  SECTION("of a single group") {
    std::vector<OffsetFetchRequest::Topic> wanted(1);
    wanted[0].name = "orders";
    wanted[0].partition_indexes = first;
    OffsetFetchRequest single;
    single.group_id = "twice";
    single.topics = Array<OffsetFetchRequest::Topic>(wanted);
    const auto one = client.call<OffsetFetchResponse>(single, 7);
    REQUIRE(one.topics.size() == 1);
    CHECK(one.topics[0].partitions.size() == 2);
  }
}

TEST_CASE("Commits that are sent without waiting for answers are done in their order") {
  TestBroker broker(kNoDelay);
  TestClient client(broker.port());
  create_topic(client, "orders", 1);
  const std::vector<std::string> names = {"pipelined-1", "pipelined-2", "pipelined-3"};
  for (const std::string& name : names) find(client, name);
  // Too large to overlap with others.
  const std::string long_metadata(3000, 'x');
  constexpr int64_t kCommits = 60;
  for (int64_t i = 1; i <= kCommits; ++i) {
    for (const std::string& name : names) send_commit(client, name, i, i % 7 == 0 ? long_metadata : "");
  }
  for (size_t i = 0; i < kCommits * names.size(); ++i) {
    const auto response = client.receive<OffsetCommitResponse>(ApiKey::kOffsetCommit, 8);
    REQUIRE(response.topics.size() == 1);
    REQUIRE(response.topics[0].partitions[0].error_code == ErrorCode::kNone);
  }
  for (const std::string& name : names) {
    OffsetFetchRequest request;
    request.group_id = name;
    request.topics = std::nullopt;
    const auto fetched = client.call<OffsetFetchResponse>(request, 7);
    REQUIRE(fetched.topics.size() == 1);
    CHECK(fetched.topics[0].partitions[0].committed_offset == kCommits);
  }
}

TEST_CASE("A member that waits for the others to join may commit what it has handled meanwhile") {
  TestBroker broker(kNoDelay);
  TestClient client(broker.port());
  create_topic(client, "orders", 1);
  std::string leader;
  const int32_t alone = join_and_sync(client, "moving", leader, as_bytes("metadata"));
  std::vector<JoinGroupRequest::Protocol> protocols = {{"range", as_bytes("other metadata")}};
  auto join = join_request("moving", protocols);
  TestClient other(broker.port());
  other.send(join, 3);
  HeartbeatRequest heartbeat;
  heartbeat.group_id = "moving";
  heartbeat.member_id = leader;
  heartbeat.generation_id = alone;
  const auto is_rebalancing = [&] {
    return client.call<HeartbeatResponse>(heartbeat, 3).error_code == ErrorCode::kRebalanceInProgress;
  };
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!is_rebalancing()) REQUIRE(std::chrono::steady_clock::now() < until);
  join.member_id = leader;
  client.send(join, 3);
  const auto joined = client.receive<JoinGroupResponse>(ApiKey::kJoinGroup, 3);
  REQUIRE(joined.error_code == ErrorCode::kNone);
  const int32_t together = joined.generation_id;
  REQUIRE(together == alone + 1);
  const std::string follower(other.receive<JoinGroupResponse>(ApiKey::kJoinGroup, 3).member_id);
  SyncGroupRequest sync;
  sync.group_id = "moving";
  sync.generation_id = together;
  sync.member_id = leader;
  REQUIRE(client.call<SyncGroupResponse>(sync, 3).error_code == ErrorCode::kNone);

  // It joins anew, goes on meanwhile, and the other joins at last.
  const std::string long_metadata(3000, 'x');
  std::vector<OffsetCommitRequest::Topic::Partition> partitions(1);
  std::vector<OffsetCommitRequest::Topic> topics(1);
  topics[0].name = "orders";
  topics[0].partitions = partitions;
  client.send(join, 3);
  for (int64_t offset = 1; offset <= 3; ++offset) {
    partitions[0].committed_offset = offset;
    partitions[0].committed_metadata = offset == 2 ? std::string_view(long_metadata) : std::string_view();
    client.send(member_commit("moving", leader, together, topics), 8);
  }
  TestClient watcher(broker.port());
  const auto committed = [&] {
    OffsetFetchRequest request;
    request.group_id = "moving";
    request.topics = std::nullopt;
    const auto fetched = watcher.call<OffsetFetchResponse>(request, 7);
    return fetched.topics.empty() ? -1 : fetched.topics[0].partitions[0].committed_offset;
  };
  while (committed() != 3 && std::chrono::steady_clock::now() < until) std::this_thread::yield();
  CHECK(committed() == 3);
  join.member_id = follower;
  other.send(join, 3);
  CHECK(client.receive<JoinGroupResponse>(ApiKey::kJoinGroup, 3).generation_id == together + 1);
  for (int i = 0; i < 3; ++i) {
    const auto answer = client.receive<OffsetCommitResponse>(ApiKey::kOffsetCommit, 8);
    CHECK(answer.topics[0].partitions[0].error_code == ErrorCode::kNone);
  }
  // Now its generation is over.
  const auto late = client.call<OffsetCommitResponse>(member_commit("moving", leader, together, topics), 8);
  CHECK(late.topics[0].partitions[0].error_code == ErrorCode::kIllegalGeneration);
}

TEST_CASE("What a description of many large groups has no room for can be asked for again") {
  TestBroker broker(kNoDelay);
  TestClient client(broker.port());
  const Buffer metadata(900'000, std::byte{'x'});
  const size_t count = AnswerLimit::kBytes / metadata.size() + 4;
  std::vector<std::string> names;
  for (size_t i = 0; i < count; ++i) {
    names.push_back("large-" + std::to_string(i));
    std::string member;
    join_and_sync(client, names.back(), member, metadata);
  }
  std::vector<std::string_view> left(names.begin(), names.end());
  int rounds = 0;
  while (!left.empty()) {
    REQUIRE(++rounds <= 2);
    const auto described = describe(client, left);
    REQUIRE(described.groups.size() == left.size());
    size_t bytes = 0;
    std::vector<std::string_view> rest;
    for (size_t i = 0; i < left.size(); ++i) {
      const auto& group = described.groups[i];
      CHECK(group.group_id == left[i]);
      if (group.error_code == ErrorCode::kCoordinatorLoadInProgress) {
        rest.push_back(left[i]);
        continue;
      }
      CHECK(group.error_code == ErrorCode::kNone);
      REQUIRE(group.members.size() == 1);
      bytes += group.members[0].member_metadata.size();
    }
    CHECK(bytes > 0);
    CHECK(bytes < AnswerLimit::kBytes + metadata.size());
    left = rest;
  }
  CHECK(rounds == 2);
}

TEST_CASE("A member id that no answer can hold is refused, and nobody else notices") {
  TestBroker broker(kNoDelay);
  TestClient client(broker.port());
  find(client, "poison");
  std::vector<JoinGroupRequest::Protocol> protocols = {{"range", as_bytes("x")}};
  JoinGroupRequest request = join_request("poison", protocols);
  const std::string fits(32'767 - 37, 'c');
  const std::string too_long(32'767 - 36, 'c');

  SECTION("made of the client id") {
    const int16_t version = GENERATE(as<int16_t>(), 3, 4, 9);
    const auto join_as = [&](const std::string& client_id) {
      Writer writer;
      REQUIRE(encode(RequestHeader{JoinGroupRequest::kApi, version, 77, client_id}, writer));
      REQUIRE(encode(request, version, writer));
      client.send_frame(writer.written());
      return client.receive<JoinGroupResponse>(JoinGroupRequest::kApi, version).error_code;
    };
    CHECK(join_as(too_long) == ErrorCode::kUnknownServerError);
    CHECK(describe(client, {"poison"}, 6).groups[0].error_code == ErrorCode::kGroupIdNotFound);
    CHECK(join_as(fits) == (version < 4 ? ErrorCode::kNone : ErrorCode::kMemberIdRequired));
    CHECK(describe(client, {"poison"}).groups[0].members.size() == (version < 4 ? 1 : 0));
  }
  SECTION("made of the instance id") {
    request.group_instance_id = too_long;
    CHECK(client.call<JoinGroupResponse>(request, 5).error_code == ErrorCode::kUnknownServerError);
    CHECK(describe(client, {"poison"}, 6).groups[0].error_code == ErrorCode::kGroupIdNotFound);
    request.group_instance_id = fits;
    CHECK(client.call<JoinGroupResponse>(request, 5).error_code == ErrorCode::kNone);
    CHECK(describe(client, {"poison"}).groups[0].members.size() == 1);
  }
}

TEST_CASE("A sync that is to name its protocol and doesn't is refused") {
  TestBroker broker(kNoDelay);
  TestClient client(broker.port());
  std::string member;
  const int32_t generation = join_and_sync(client, "group", member, as_bytes("metadata"));
  SyncGroupRequest sync;
  sync.group_id = "group";
  sync.generation_id = generation;
  sync.member_id = member;
  const auto error = [&](int16_t version) {
    return client.call<SyncGroupResponse>(sync, version).error_code;
  };
  CHECK(error(4) == ErrorCode::kNone);
  CHECK(error(5) == ErrorCode::kInconsistentGroupProtocol);
  sync.protocol_type = "consumer";
  CHECK(error(5) == ErrorCode::kInconsistentGroupProtocol);
  sync.protocol_name = "range";
  CHECK(error(5) == ErrorCode::kNone);
  sync.protocol_type.reset();
  CHECK(error(5) == ErrorCode::kInconsistentGroupProtocol);
}

TEST_CASE("A consumer group without a name can't be described") {
  TestBroker broker(kNoDelay);
  TestClient client(broker.port());
  find(client, "none");
  std::vector<std::string_view> groups = {"none", ""};
  ConsumerGroupDescribeRequest request;
  request.group_ids = groups;
  const auto described = client.call<ConsumerGroupDescribeResponse>(request, 1);
  REQUIRE(described.groups.size() == 2);
  CHECK(described.groups[0].error_code == ErrorCode::kGroupIdNotFound);
  CHECK(described.groups[1].error_code == ErrorCode::kInvalidGroupId);
  CHECK_FALSE(described.groups[1].error_message);
}

TEST_CASE("A group with the longest of names is described as any other, and with others") {
  TestBroker broker(kNoDelay);
  TestClient client(broker.port());
  find(client, "none");
  std::string longest;
  while (longest.size() < 32'766) longest += "\xc3\xa9";
  std::vector<std::string_view> groups = {longest, "none"};
  const auto check = [&](const auto& described) {
    REQUIRE(described.groups.size() == 2);
    CHECK(described.groups[0].group_id == longest);
    CHECK(described.groups[0].error_code == ErrorCode::kGroupIdNotFound);
    REQUIRE(described.groups[0].error_message);
    const std::string_view message = *described.groups[0].error_message;
    CHECK(message.starts_with("Group \xc3\xa9"));
    CHECK(message.ends_with("\xc3\xa9"));  // cut off between characters
    CHECK(described.groups[1].error_code == ErrorCode::kGroupIdNotFound);
  };
  ConsumerGroupDescribeRequest request;
  request.group_ids = groups;
  check(client.call<ConsumerGroupDescribeResponse>(request, 1));
  DescribeGroupsRequest classic;
  classic.groups = groups;
  check(client.call<DescribeGroupsResponse>(classic, 6));
}

TEST_CASE("More names of topics than can be stored are refused, with what to do") {
  TestBroker broker(kNoDelay);
  TestClient client(broker.port());
  find(client, "wide");
  std::vector<std::string> names;
  for (int i = 0; i < 40'000; ++i) names.push_back("a-topic-with-a-long-name-" + std::to_string(100'000 + i));
  std::vector<std::string_view> topics(names.begin(), names.end());
  ConsumerGroupHeartbeatRequest request;
  request.group_id = "wide";
  request.member_id = "member";
  request.rebalance_timeout_ms = 10'000;
  request.topic_partitions.emplace();
  request.subscribed_topic_names = Array<std::string_view>(topics);
  const auto refused = client.call<ConsumerGroupHeartbeatResponse>(request, 1);
  CHECK(refused.error_code == ErrorCode::kUnknownServerError);
  REQUIRE(refused.error_message);
  CHECK(refused.error_message->find("max.message.bytes") != std::string_view::npos);
  topics.resize(20'000);
  request.subscribed_topic_names = Array<std::string_view>(topics);
  CHECK(client.call<ConsumerGroupHeartbeatResponse>(request, 1).error_code == ErrorCode::kNone);
}

TEST_CASE("Many groups are deleted at once, each with its own answer") {
  TestBroker broker(kNoDelay);
  TestClient client(broker.port());
  create_topic(client, "orders");
  std::string member;
  join_and_sync(client, "busy", member, as_bytes("metadata"));
  std::vector<std::string> names;
  for (int i = 0; i < 100; ++i) {
    names.push_back("idle-" + std::to_string(i));
    find(client, names.back());
    if (i % 10 != 0) commit(client, names.back(), "orders", 0);
  }
  std::vector<std::string_view> groups(names.begin(), names.end());
  groups.insert(groups.begin() + 50, "busy");
  DeleteGroupsRequest request;
  request.groups_names = groups;
  for (const bool again : {false, true}) {
    const auto deleted = client.call<DeleteGroupsResponse>(request, 2);
    REQUIRE(deleted.results.size() == groups.size());
    for (size_t i = 0; i < groups.size(); ++i) {
      INFO("group " << groups[i]);
      CHECK(deleted.results[i].group_id == groups[i]);
      const bool missing = again || groups[i].ends_with("0");
      CHECK(deleted.results[i].error_code == (groups[i] == "busy" ? ErrorCode::kNonEmptyGroup
                                              : missing           ? ErrorCode::kGroupIdNotFound
                                                                  : ErrorCode::kNone));
    }
  }
}
