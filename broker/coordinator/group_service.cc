#include "broker/coordinator/group_service.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "broker/coordinator/group_partitioning.h"
#include "broker/runtime/fan_out.h"
#include "broker/runtime/logging.h"

namespace millrace::coordinator {
namespace {

constexpr int64_t kMsPerMinute = 60'000;

runtime::Task<GroupResponse> refuse(const GroupRequest& request, ErrorCode error) {
  co_return error_response(request, error);
}

MigrationPolicy migration_policy(std::string_view name) {
  if (name == "disabled") return MigrationPolicy::kDisabled;
  if (name == "upgrade") return MigrationPolicy::kUpgrade;
  if (name == "downgrade") return MigrationPolicy::kDowngrade;
  return MigrationPolicy::kBidirectional;
}

}  // namespace

GroupService::GroupService(runtime::ShardGroup& shards, metadata::MetadataCache& metadata,
                           metadata::Controller& controller, const metadata::BrokerConfig& config,
                           std::vector<GroupShard*> by_shard)
    : shards_(shards),
      metadata_(metadata),
      controller_(controller),
      config_(config),
      by_shard_(std::move(by_shard)) {}

// No coroutine itself, for the sake of the usual case.
runtime::Task<GroupResponse> GroupService::handle(const GroupRequest& request, std::function<void()> taken) {
  if (const auto* listing = std::get_if<ListGroups>(&request)) return list(*listing);
  const metadata::TopicPtr topic = metadata_.image()->topic(kOffsetsTopic);
  if (!topic) return refuse(request, ErrorCode::kNotCoordinator);
  const int32_t number =
      partition_of_group(group_of(request), static_cast<int32_t>(topic->partitions.size()));
  const size_t shard = shards_.index_of({topic->id, number});
  if (shards_[shard].is_current()) return handle_on_shard(shard, number, request, std::move(taken));
  // A commit doesn't wait for so long that telling its caller were worth a message between the shards.
  if (std::holds_alternative<OffsetCommit>(request)) taken = {};
  return handle_remotely(shard, number, request, std::move(taken));
}

runtime::Task<GroupResponse> GroupService::handle_remotely(size_t shard, int32_t number,
                                                           const GroupRequest& request,
                                                           std::function<void()> taken) {
  // Owned here, on the calling shard: a caller that is gone isn't told.
  std::shared_ptr<const std::function<void()>> tell;
  std::function<void()> begun;
  if (taken) {
    tell = std::make_shared<const std::function<void()>>(std::move(taken));
    begun = [home = runtime::Shard::current(), weak = std::weak_ptr(tell)] {
      auto run = [weak] {
        if (const auto told = weak.lock()) (*told)();
      };
      home->post(run);
    };
  }
  auto ask = [this, shard, number, &request, begun] {
    return handle_on_shard(shard, number, request, begun);
  };
  co_return co_await shards_[shard].call(ask);
}

// The partition's own task, which keeps it alive from its start on.
runtime::Task<GroupResponse> GroupService::handle_on_shard(size_t shard, int32_t number,
                                                           const GroupRequest& request,
                                                           std::function<void()> begun) {
  const auto partition = by_shard_[shard]->find(number);
  return partition ? partition->handle(request, std::move(begun))
                   : refuse(request, ErrorCode::kNotCoordinator);
}

runtime::Task<std::vector<GroupResponse>> GroupService::handle_all(
    const std::vector<GroupRequest>& requests) {
  std::vector<GroupResponse> responses;
  for (const GroupRequest& request : requests)
    responses.push_back(error_response(request, ErrorCode::kNotCoordinator));
  const metadata::TopicPtr topic = metadata_.image()->topic(kOffsetsTopic);
  if (!topic) co_return responses;
  std::map<int32_t, std::vector<size_t>> by_partition;
  for (size_t i = 0; i < requests.size(); ++i) {
    by_partition[partition_of_group(group_of(requests[i]), static_cast<int32_t>(topic->partitions.size()))]
        .push_back(i);
  }
  std::vector<Part> parts;
  std::vector<runtime::Shard*> shards;
  for (auto& [number, places] : by_partition) {
    parts.push_back({shards_.index_of({topic->id, number}), number, std::move(places)});
    shards.push_back(&shards_[parts.back().shard]);
  }
  auto ask = [this, &parts, &requests, &responses](size_t i) {
    return handle_part(parts[i], requests, responses);
  };
  co_await runtime::fan_out(shards, ask);
  co_return responses;
}

// On the shard of the part, whose responses no other part touches.
runtime::Task<> GroupService::handle_part(const Part& part, const std::vector<GroupRequest>& requests,
                                          std::vector<GroupResponse>& responses) {
  const auto partition = by_shard_[part.shard]->find(part.partition);
  if (!partition) co_return;
  std::vector<const GroupRequest*> asked;
  for (const size_t place : part.places) asked.push_back(&requests[place]);
  std::vector<GroupResponse> answered = co_await partition->handle_all(asked);
  for (size_t i = 0; i < answered.size(); ++i) responses[part.places[i]] = std::move(answered[i]);
}

runtime::Task<GroupResponse> GroupService::list(const ListGroups& request) {
  ListGroupsResult all;
  const GroupRequest one(request);
  for (size_t i = 0; i < by_shard_.size(); ++i) {
    auto ask = [this, i, &one]() -> runtime::Task<ListGroupsResult> {
      ListGroupsResult of_shard;
      for (const auto& partition : by_shard_[i]->all()) {
        const auto response = co_await partition->handle(one);
        const auto& part = std::get<ListGroupsResult>(response);
        // Of one that failed for good nothing is to come, and clients drop the groups beside an error: the
        // others are listed without it, as Apache Kafka does.
        const bool left_out =
            part.error == ErrorCode::kNotCoordinator || part.error == ErrorCode::kCoordinatorNotAvailable;
        if (part.error != ErrorCode::kNone && !left_out) of_shard.error = part.error;
        of_shard.groups.insert(of_shard.groups.end(), part.groups.begin(), part.groups.end());
      }
      co_return of_shard;
    };
    ListGroupsResult of_shard = co_await shards_[i].call(ask);
    if (of_shard.error != ErrorCode::kNone) co_return GroupResponse(ListGroupsResult{of_shard.error, {}});
    std::ranges::move(of_shard.groups, std::back_inserter(all.groups));
  }
  co_return GroupResponse(std::move(all));
}

runtime::Task<Result<GroupProgress>> GroupService::progress(std::string_view group) {
  const metadata::TopicPtr topic = metadata_.image()->topic(kOffsetsTopic);
  if (!topic) co_return fail(ErrorCode::kGroupIdNotFound, "no such group");
  const int32_t number = partition_of_group(group, static_cast<int32_t>(topic->partitions.size()));
  const size_t shard = shards_.index_of({topic->id, number});
  auto look = [this, shard, number, group]() -> Result<GroupProgress> {
    const auto partition = by_shard_[shard]->find(number);
    if (!partition) return fail(ErrorCode::kNotCoordinator, "another broker coordinates the group");
    if (partition->machine() == nullptr)
      return fail(ErrorCode::kCoordinatorLoadInProgress, "the group's coordinator isn't loaded yet");
    std::optional<GroupProgress> found = partition->machine()->progress(group);
    if (!found) return fail(ErrorCode::kGroupIdNotFound, "no such group");
    return std::move(*found);
  };
  co_return co_await shards_[shard].call(look);
}

runtime::Task<std::vector<GroupService::Names>> GroupService::names() {
  std::vector<Names> all;
  for (size_t i = 0; i < by_shard_.size(); ++i) {
    auto list = [this, i] {
      std::vector<Names> of_shard;
      for (const auto& [number, partition] : by_shard_[i]->by_number()) {
        if (partition->machine() == nullptr) continue;
        std::vector<std::string> groups = partition->machine()->group_names();
        if (!groups.empty()) of_shard.push_back({i, number, std::move(groups)});
      }
      return of_shard;
    };
    std::vector<Names> of_shard = co_await shards_[i].call(list);
    std::ranges::move(of_shard, std::back_inserter(all));
  }
  for (Names& names : all) std::ranges::sort(names.groups);
  co_return all;
}

runtime::Task<std::vector<GroupProgress>> GroupService::progress_of(const Names& names, size_t& first,
                                                                    size_t most) {
  auto look = [this, &names, &first, most] {
    std::vector<GroupProgress> found;
    const auto partition = by_shard_[names.shard]->find(names.partition);
    const GroupCoordinator* const machine = partition ? partition->machine() : nullptr;
    // A group without positions is some work, too.
    for (size_t positions = 0; first < names.groups.size() && positions < most; ++first) {
      auto progress = machine == nullptr ? std::nullopt : machine->progress(names.groups[first]);
      positions += 1 + (progress ? progress->position_count() : 0);
      if (progress) found.push_back(std::move(*progress));
    }
    return found;
  };
  co_return co_await shards_[names.shard].call(look);
}

runtime::Task<Result<int32_t>> GroupService::find_coordinator(std::string_view group) {
  if (!metadata_.image()->topic(kOffsetsTopic)) {
    auto created = co_await create_topic();
    if (!created) co_return std::unexpected(std::move(created.error()));
  }
  const metadata::TopicPtr topic = metadata_.image()->topic(kOffsetsTopic);
  if (!topic) co_return fail(ErrorCode::kCoordinatorNotAvailable, "The coordinator is not available.");
  const int32_t number = partition_of_group(group, static_cast<int32_t>(topic->partitions.size()));
  const int32_t leader = topic->partitions[static_cast<size_t>(number)].leader;
  if (leader == metadata::kNoBroker)
    co_return fail(ErrorCode::kCoordinatorNotAvailable, "The coordinator is not available.");
  co_return leader;
}

runtime::Task<Result<>> GroupService::create_topic() {
  metadata::NewTopic topic;
  topic.name = std::string(kOffsetsTopic);
  topic.num_partitions = config_.offsets_topic_num_partitions;
  // As many replicas as are wanted, or as there are brokers for: a single one must work, too.
  const auto brokers = static_cast<int32_t>(std::max<size_t>(metadata_.image()->brokers().size(), 1));
  topic.replication_factor =
      static_cast<int16_t>(std::min(config_.offsets_topic_replication_factor, brokers));
  topic.configs = {{"cleanup.policy", "compact"},
                   {"compression.type", "producer"},
                   {"segment.bytes", std::to_string(config_.offsets_topic_segment_bytes)}};
  auto create = [this, &topic]() -> runtime::Task<std::vector<metadata::CreateTopicResult>> {
    std::vector<metadata::NewTopic> topics;
    topics.push_back(std::move(topic));
    return controller_.create_topics(std::move(topics), false);
  };
  const auto results = co_await shards_[0].call(create);
  const Error& error = results.at(0).error;
  // Someone else was faster: that is as good.
  if (error.code == ErrorCode::kNone || error.code == ErrorCode::kTopicAlreadyExists) co_return Result<>();
  runtime::log_error("{} could not be created: {} {}", kOffsetsTopic, error_name(error.code), error.message);
  co_return fail(ErrorCode::kCoordinatorNotAvailable, "The coordinator is not available.");
}

void GroupService::stop() {
  for (size_t i = 0; i < by_shard_.size(); ++i) {
    auto stop_shard = [shard = by_shard_[i]] { return shard->stop(); };
    shards_[i].run(stop_shard);
  }
}

GroupSettings group_settings(const metadata::BrokerConfig& config) {
  GroupSettings settings;
  settings.min_session_timeout_ms = config.group_min_session_timeout_ms;
  settings.max_session_timeout_ms = config.group_max_session_timeout_ms;
  settings.initial_rebalance_delay_ms = config.group_initial_rebalance_delay_ms;
  settings.max_size = config.group_max_size;
  settings.offset_metadata_max_bytes = config.offset_metadata_max_bytes;
  settings.offsets_retention_ms = int64_t{config.offsets_retention_minutes} * kMsPerMinute;
  settings.offsets_retention_check_interval_ms = config.offsets_retention_check_interval_ms;
  settings.consumer_session_timeout_ms = config.group_consumer_session_timeout_ms;
  settings.consumer_heartbeat_interval_ms = config.group_consumer_heartbeat_interval_ms;
  settings.consumer_max_size = config.group_consumer_max_size;
  settings.consumer_assignors = config.group_consumer_assignors;
  settings.consumer_migration_policy = migration_policy(config.group_consumer_migration_policy);
  return settings;
}

}  // namespace millrace::coordinator
