// Random histories of topics and configurations against a model that is a map, with the process killed at
// random points: whatever was answered is there, and the image read back is the image folded.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <map>

#include "broker/metadata/topic_config.h"
#include "tests/broker/metadata/test_cluster.h"

using namespace millrace;
using namespace millrace::metadata;

namespace {

struct ModelTopic {
  Uuid id;
  size_t partitions = 0;
  ConfigMap configs;
};

class History {
 public:
  explicit History(uint64_t seed) : random_(seed), seed_(seed) { restart(); }

  void run(int steps) {
    for (int i = 0; i < steps; ++i) {
      step();
      check();
    }
  }

 private:
  void step() {
    switch (random_.below(14)) {
      case 0:
      case 1:
      case 2:
        return create();
      case 3:
        return remove();
      case 4:
      case 5:
        return grow();
      case 6:
      case 7:
      case 8:
        return alter();
      case 9:
        return alter_broker();
      case 10:
        return replace();
      case 11:
      case 12:
        return alter_group();
      default:
        if (random_.below(3) == 0) restart();
    }
  }

  std::string name() { return std::string(1, static_cast<char>('a' + random_.below(8))); }

  void create() {
    std::vector<NewTopic> topics;
    std::map<std::string, int> count;
    for (uint64_t i = 0; i <= random_.below(3); ++i) {
      NewTopic topic{
          .name = name(), .num_partitions = static_cast<int32_t>(random_.below(6)), .replication_factor = 1};
      if (random_.below(2) == 0)
        topic.configs.emplace_back("retention.ms", random_.below(4) == 0 ? "x" : "77");
      ++count[topic.name];
      topics.push_back(std::move(topic));
    }
    const bool validate_only = random_.below(5) == 0;
    for (const CreateTopicResult& result : cluster_->create(topics, validate_only)) {
      const NewTopic& topic = *std::ranges::find(topics, result.name, &NewTopic::name);
      ErrorCode expected = ErrorCode::kNone;
      if (count[topic.name] > 1) {
        expected = ErrorCode::kInvalidRequest;
      } else if (model_.contains(topic.name)) {
        expected = ErrorCode::kTopicAlreadyExists;
      } else if (!topic.configs.empty() && topic.configs[0].second == "x") {
        expected = ErrorCode::kInvalidConfig;
      } else if (topic.num_partitions == 0) {
        expected = ErrorCode::kInvalidPartitions;
      }
      REQUIRE(result.error.code == expected);
      if (expected != ErrorCode::kNone || validate_only) continue;
      ModelTopic& made = model_[topic.name];
      made = {result.id, static_cast<size_t>(topic.num_partitions), {}};
      if (!topic.configs.empty()) made.configs["retention.ms"] = "77";
    }
  }

  void remove() {
    const std::string doomed = name();
    const auto at = model_.find(doomed);
    DeleteTopic request{.name = doomed};
    if (at != model_.end() && random_.below(2) == 0) request = {.name = std::nullopt, .id = at->second.id};
    const ErrorCode code = cluster_->remove({request}).at(0).error.code;
    REQUIRE(code == (at == model_.end() ? ErrorCode::kUnknownTopicOrPartition : ErrorCode::kNone));
    model_.erase(doomed);
  }

  void grow() {
    const std::string topic = name();
    const auto at = model_.find(topic);
    const size_t count = random_.below(20);
    const bool validate_only = random_.below(5) == 0;
    const Error error = cluster_->grow({topic, static_cast<int32_t>(count), {}}, validate_only);
    if (at == model_.end()) {
      REQUIRE(error.code == ErrorCode::kUnknownTopicOrPartition);
    } else if (count <= at->second.partitions) {
      REQUIRE(error.code == ErrorCode::kInvalidPartitions);
    } else {
      REQUIRE(error.code == ErrorCode::kNone);
      if (!validate_only) at->second.partitions = count;
    }
  }

  void alter() {
    const std::string topic = name();
    const auto at = model_.find(topic);
    const char* settings[] = {"retention.ms", "segment.ms", "flush.messages"};
    const std::string setting = settings[random_.below(3)];
    const bool set = random_.below(3) > 0;
    const std::string value = std::to_string(random_.below(1000) + 1);
    const bool validate_only = random_.below(5) == 0;
    const Error error =
        cluster_->alter(ResourceType::kTopic, topic,
                        {{setting, set ? AlterOp::kSet : AlterOp::kDelete, value}}, validate_only);
    REQUIRE(error.code == (at == model_.end() ? ErrorCode::kUnknownTopicOrPartition : ErrorCode::kNone));
    if (at == model_.end() || validate_only) return;
    if (set) {
      at->second.configs[setting] = value;
    } else {
      at->second.configs.erase(setting);
    }
  }

  void replace() {
    const std::string topic = name();
    const auto at = model_.find(topic);
    const std::vector<AlterResource> request{
        {ResourceType::kTopic, topic, {{"segment.ms", AlterOp::kSet, "5"}}}};
    const auto done = cluster_->call([&](Controller& c) { return c.replace_configs(request, false); });
    REQUIRE(done.at(0).error.code ==
            (at == model_.end() ? ErrorCode::kUnknownTopicOrPartition : ErrorCode::kNone));
    if (at != model_.end()) at->second.configs = {{"segment.ms", "5"}};
  }

  void alter_broker() {
    const std::string broker = random_.below(2) == 0 ? "" : "1";
    const bool set = random_.below(2) == 0;
    const std::string value = std::to_string(random_.below(1000) + 1);
    const Error error =
        cluster_->alter(ResourceType::kBroker, broker,
                        {{"log.segment.delete.delay.ms", set ? AlterOp::kSet : AlterOp::kDelete, value}});
    REQUIRE(error.code == ErrorCode::kNone);
    std::optional<std::string>& kept = broker.empty() ? cluster_value_ : broker_value_;
    kept = set ? std::optional(value) : std::nullopt;
  }

  void alter_group() {
    const std::string group = name();
    const bool set = random_.below(2) == 0;
    const std::string value = std::to_string(44'995 + random_.below(1000));
    const bool bad = set && parse_integer(value) < 45'000;
    const bool validate_only = random_.below(5) == 0;
    const Error error = cluster_->alter(
        ResourceType::kGroup, group,
        {{"consumer.session.timeout.ms", set ? AlterOp::kSet : AlterOp::kDelete, value}}, validate_only);
    REQUIRE(error.code == (bad ? ErrorCode::kInvalidConfig : ErrorCode::kNone));
    if (bad || validate_only) return;
    if (set) {
      groups_[group] = value;
    } else {
      groups_.erase(group);
    }
  }

  void restart() {
    cluster_.reset();
    cluster_ = std::make_unique<TestCluster>(directory_.path(), StaticConfig{}, ++seed_ * 1000);
    cluster_->start();
  }

  void check() {
    const ImagePtr image = cluster_->image(random_.below(2));
    REQUIRE(image->topics().size() == model_.size());
    size_t partitions = 0;
    for (const auto& [name, topic] : model_) {
      const TopicPtr found = image->topic(name);
      REQUIRE(found);
      REQUIRE(found->id == topic.id);
      REQUIRE(image->topic(topic.id) == found);
      REQUIRE(found->partitions.size() == topic.partitions);
      REQUIRE(found->configs == topic.configs);
      partitions += topic.partitions;
      for (const PartitionImage& partition : found->partitions) REQUIRE(partition.leader == 1);
    }
    REQUIRE(image->partition_count() == static_cast<int64_t>(partitions));
    const auto delay = broker_value(cluster_->config(), *image, 1, "log.segment.delete.delay.ms");
    REQUIRE(delay == broker_value_.value_or(cluster_value_.value_or("60000")));
    REQUIRE(image->all_group_configs().size() == groups_.size());
    for (const auto& [group, value] : groups_)
      REQUIRE(image->group_configs(group) == ConfigMap{{"consumer.session.timeout.ms", value}});
    check_against_store(image);
  }

  // The image folded event by event is the one that a fresh start would read.
  void check_against_store(const ImagePtr& image) {
    auto read = [&]() -> runtime::Task<ImagePtr> {
      const Result<RangeResult> range = co_await cluster_->store().range("");
      if (!range) throw std::runtime_error(range.error().message);
      ImageBuilder builder(std::make_shared<const ClusterImage>());
      if (!builder.fold_range(*range)) throw std::runtime_error("can't be folded");
      co_return builder.build();
    };
    REQUIRE(*cluster_->shards()[0].run(read) == *image);
  }

  runtime::Random random_;
  uint64_t seed_;
  TestDirectory directory_;
  std::unique_ptr<TestCluster> cluster_;
  std::map<std::string, ModelTopic> model_;
  std::optional<std::string> cluster_value_, broker_value_;
  std::map<std::string, std::string> groups_;
};

}  // namespace

TEST_CASE("Random histories agree with a model, across restarts") {
  const char* chosen = std::getenv("MILLRACE_TEST_SEED");
  const uint64_t first = chosen == nullptr ? 1 : std::strtoull(chosen, nullptr, 10);
  for (uint64_t seed = first; seed < first + (chosen == nullptr ? 8 : 1); ++seed) {
    INFO("MILLRACE_TEST_SEED=" << seed);
    History history(seed);
    history.run(120);
  }
}
