// What a member tells its coordinator, and what it makes of the answers.
#include "tools/client/membership.h"

#include "fake_broker.h"
#include "protocol/messages/consumer_group_heartbeat.h"
#include "protocol/messages/find_coordinator.h"

using namespace millrace;
using namespace millrace::tools;
using millrace::tools::test::FakeBroker;
using protocol::ConsumerGroupHeartbeatResponse;

namespace {

struct Heard {
  std::string member_id;
  int32_t epoch = 0;
  std::vector<int32_t> owned;
  std::string instance = {};
};

struct Answer {
  ErrorCode error = ErrorCode::kNone;
  int32_t epoch = 0;
  std::optional<std::vector<int32_t>> assigned;
  std::optional<Uuid> topic_id = {};  // the topic's own
};

struct Setup {
  FakeBroker broker;
  std::vector<Heard> heard;
  std::vector<Answer> answers;
  std::unique_ptr<Cluster> cluster;
  std::unique_ptr<Membership> member;
  TopicInfo topic;

  Setup() {
    topic.name = "t";
    topic.id = Uuid::from_random(1, 2);
    broker.serve_topic(3);
    broker.on(ApiKey::kFindCoordinator, 4, [this](int16_t version, Bytes) -> std::optional<Buffer> {
      std::vector<protocol::FindCoordinatorResponse::Coordinator> coordinators(1);
      coordinators[0].key = "g";
      coordinators[0].node_id = 1;
      coordinators[0].host = "127.0.0.1";
      coordinators[0].port = broker.port();
      protocol::FindCoordinatorResponse answer;
      answer.coordinators = coordinators;
      return FakeBroker::encoded(answer, version);
    });
    broker.on(ApiKey::kConsumerGroupHeartbeat, 1,
              [this](int16_t version, Bytes body) { return heartbeat(version, body); });
  }

  // With the answers that the coordinator is going to give.
  Membership& start(std::vector<Answer> to_give, std::optional<std::string> instance = std::nullopt) {
    answers = std::move(to_give);
    cluster = std::move(*Cluster::connect(broker.options()));
    member = std::make_unique<Membership>(*cluster, "g", topic, std::move(instance));
    return *member;
  }

  std::optional<Buffer> heartbeat(int16_t version, Bytes body) {
    Arena arena;
    const auto request = protocol::decode<protocol::ConsumerGroupHeartbeatRequest>(body, version, arena);
    if (!request || heard.size() >= answers.size()) return std::nullopt;
    const Answer& given = answers[heard.size()];
    Heard& now = heard.emplace_back(Heard{std::string(request->member_id), request->member_epoch, {}});
    now.instance = request->instance_id.value_or("");
    if (request->topic_partitions && !request->topic_partitions->empty()) {
      const auto& owned = (*request->topic_partitions)[0];
      now.owned.assign(owned.partitions.begin(), owned.partitions.end());
    }
    ConsumerGroupHeartbeatResponse answer;
    answer.error_code = given.error;
    answer.member_epoch = given.epoch;
    answer.heartbeat_interval_ms = 3'600'000;
    std::vector<int32_t> partitions = given.assigned.value_or(std::vector<int32_t>{});
    std::vector<ConsumerGroupHeartbeatResponse::TopicPartitions> topics(1);
    topics[0].topic_id = given.topic_id.value_or(topic.id);
    topics[0].partitions = partitions;
    if (given.assigned) answer.assignment.emplace().topic_partitions = topics;
    return FakeBroker::encoded(answer, version);
  }
};

using Set = std::set<int32_t>;

}  // namespace

TEST_CASE("a member joins with epoch 0, goes on with the coordinator's, and leaves with -1") {
  Setup setup;
  Membership& member = setup.start({{.epoch = 4, .assigned = {{0, 2}}}, {.epoch = 5}, {.epoch = -1}});
  CHECK(member.due());
  REQUIRE(member.heartbeat({}));
  CHECK(member.assigned() == Set{0, 2});
  CHECK_FALSE(member.due());
  // No assignment in the answer means no change.
  REQUIRE(member.heartbeat({0, 2}));
  CHECK(member.assigned() == Set{0, 2});
  CHECK(member.committer().epoch == 5);
  REQUIRE(member.leave());
  REQUIRE(setup.heard.size() == 3);
  CHECK(setup.heard[0].epoch == 0);
  CHECK(setup.heard[1].epoch == 4);
  CHECK(setup.heard[1].owned == std::vector<int32_t>{0, 2});
  CHECK(setup.heard[2].epoch == -1);
  CHECK(setup.heard[2].owned.empty());
  CHECK_FALSE(setup.heard[0].member_id.empty());
  CHECK(setup.heard[2].member_id == setup.heard[0].member_id);
  // It is no member any more.
  CHECK(member.leave());
  CHECK(setup.heard.size() == 3);
}

TEST_CASE("a fenced member joins anew") {
  Setup setup;
  Membership& member = setup.start({{.epoch = 4, .assigned = {{0}}},
                                    {.error = ErrorCode::kFencedMemberEpoch},
                                    {.epoch = 6, .assigned = {{1}}}});
  REQUIRE(member.heartbeat({}));
  const Result<void> fenced = member.heartbeat({0});
  REQUIRE_FALSE(fenced);
  CHECK(fenced.error().code == ErrorCode::kFencedMemberEpoch);
  member.forget();
  CHECK(member.due());
  CHECK(member.assigned().empty());
  REQUIRE(member.heartbeat({}));
  CHECK(member.assigned() == Set{1});
  CHECK(setup.heard[2].epoch == 0);
}

TEST_CASE("a static member says its instance each time, and leaves with -2: it will be back") {
  Setup setup;
  Membership& member = setup.start({{.epoch = 4, .assigned = {{0}}}, {.epoch = 4}, {.epoch = -2}}, "i-1");
  REQUIRE(member.heartbeat({}));
  REQUIRE(member.heartbeat({0}));
  REQUIRE(member.leave());
  REQUIRE(setup.heard.size() == 3);
  CHECK(setup.heard[2].epoch == -2);
  for (const Heard& heard : setup.heard) CHECK(heard.instance == "i-1");
}

TEST_CASE("an instance that another member is may be tried again, and is said") {
  Setup setup;
  Membership& member =
      setup.start({{.error = ErrorCode::kUnreleasedInstanceId}, {.epoch = 3, .assigned = {{1}}}}, "i-1");
  const Result<void> joined = member.heartbeat({});
  REQUIRE_FALSE(joined);
  CHECK(joined.error().code == ErrorCode::kUnreleasedInstanceId);
  CHECK(joined.error().message.find("another member is instance \"i-1\"") != std::string::npos);
  CHECK_FALSE(member.due());
  REQUIRE(member.heartbeat({}));
  CHECK(member.assigned() == Set{1});
  CHECK(setup.heard[1].epoch == 0);
}

TEST_CASE("an empty assignment takes everything") {
  Setup setup;
  Membership& member = setup.start({{.epoch = 1, .assigned = {{0, 1}}}, {.epoch = 1, .assigned = {{}}}});
  REQUIRE(member.heartbeat({}));
  REQUIRE(member.heartbeat({0, 1}));
  CHECK(member.assigned().empty());
}

TEST_CASE("partitions of a topic that was made again are assigned once it is known") {
  Setup setup;
  TopicInfo again;
  again.name = "t";
  again.id = Uuid::from_random(3, 4);
  Membership& member = setup.start({{.epoch = 1, .assigned = {{0, 1}}},
                                    {.epoch = 2, .assigned = {{}}},
                                    {.epoch = 3, .assigned = {{0, 2}}, .topic_id = again.id},
                                    {.epoch = 3}});
  REQUIRE(member.heartbeat({}));
  CHECK_FALSE(member.assigns_another_topic());
  REQUIRE(member.heartbeat({0, 1}));
  CHECK_FALSE(member.assigns_another_topic());
  REQUIRE(member.heartbeat({}));
  CHECK(member.assigns_another_topic());
  CHECK(member.assigned().empty());
  // It stays so until somebody looks.
  REQUIRE(member.heartbeat({}));
  CHECK(member.assigns_another_topic());
  member.set_topic(again);
  CHECK_FALSE(member.assigns_another_topic());
  CHECK(member.assigned() == Set{0, 2});
}

TEST_CASE("a broker without the consumer protocol is named as too old") {
  FakeBroker broker;
  broker.serve_topic(1);
  broker.on(ApiKey::kFindCoordinator, 4, [&](int16_t version, Bytes) -> std::optional<Buffer> {
    std::vector<protocol::FindCoordinatorResponse::Coordinator> coordinators(1);
    coordinators[0].key = "g";
    coordinators[0].node_id = 1;
    protocol::FindCoordinatorResponse answer;
    answer.coordinators = coordinators;
    return FakeBroker::encoded(answer, version);
  });
  const std::unique_ptr<Cluster> cluster = std::move(*Cluster::connect(broker.options()));
  TopicInfo topic;
  topic.name = "t";
  Membership member(*cluster, "g", topic, std::nullopt);
  const Result<void> joined = member.heartbeat({});
  REQUIRE_FALSE(joined);
  CHECK(joined.error().message.find("Apache Kafka 4.0") != std::string::npos);
}
