// All group coordinators of this broker: finds the one that keeps a group, on whatever shard it lives, and
// makes __consumer_offsets when it is first needed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string_view>
#include <vector>

#include "broker/coordinator/group_messages.h"
#include "broker/coordinator/group_shard.h"
#include "broker/metadata/broker_settings.h"
#include "broker/metadata/controller.h"
#include "broker/metadata/metadata_cache.h"
#include "broker/runtime/shard_group.h"

namespace millrace::coordinator {

class GroupService {
 public:
  // What is referred to outlives the service; `by_shard` are the shards' coordinators in the order of the
  // group's shards, registered with the metadata by the caller.
  GroupService(runtime::ShardGroup& shards, metadata::MetadataCache& metadata,
               metadata::Controller& controller, const metadata::BrokerConfig& config,
               std::vector<GroupShard*> by_shard);

  // Answers a request of one group, or ListGroups for all groups of this broker. From any shard.
  // NOT_COORDINATOR if another broker coordinates the group or the topic doesn't exist.
  // `taken`, if given, is called on the calling shard when the answer has to be waited for: `request` isn't
  // looked at any more then. Not for commits that go to another shard.
  runtime::Task<GroupResponse> handle(const GroupRequest& request, std::function<void()> taken = {});

  // Answers several requests of one group each, those of one group in their order. What they write is awaited
  // together.
  runtime::Task<std::vector<GroupResponse>> handle_all(const std::vector<GroupRequest>& requests);

  // The broker that coordinates the group; makes the topic if it isn't there. Errors:
  // COORDINATOR_NOT_AVAILABLE.
  runtime::Task<Result<int32_t>> find_coordinator(std::string_view group);

  // How far a group is. Errors: kGroupIdNotFound, kCoordinatorLoadInProgress, kNotCoordinator.
  runtime::Task<Result<GroupProgress>> progress(std::string_view group);

  // The groups of one coordinator of this broker, in order of their names.
  struct Names {
    size_t shard = 0;
    int32_t partition = 0;
    std::vector<std::string> groups;
  };
  // Of all coordinators that are loaded.
  runtime::Task<std::vector<Names>> names();
  // How far groups[first], groups[first + 1] and so on are, until there are `most` positions or more; sets
  // `first` to the next one. Groups that are gone by now are left out. One visit to the shard: `most` bounds
  // its length, but for a single group with more.
  runtime::Task<std::vector<GroupProgress>> progress_of(const Names& names, size_t& first, size_t most);

  // Ends all coordinators. From the thread that owns the shards, none of them.
  void stop();

 private:
  runtime::Task<GroupResponse> list(const ListGroups& request);
  runtime::Task<Result<>> create_topic();
  runtime::Task<GroupResponse> handle_on_shard(size_t shard, int32_t number, const GroupRequest& request,
                                               std::function<void()> begun);
  runtime::Task<GroupResponse> handle_remotely(size_t shard, int32_t number, const GroupRequest& request,
                                               std::function<void()> taken);
  // Of several requests those to one partition.
  struct Part {
    size_t shard = 0;
    int32_t partition = 0;
    std::vector<size_t> places;  // in the requests
  };
  runtime::Task<> handle_part(const Part& part, const std::vector<GroupRequest>& requests,
                              std::vector<GroupResponse>& responses);

  runtime::ShardGroup& shards_;
  metadata::MetadataCache& metadata_;
  metadata::Controller& controller_;
  const metadata::BrokerConfig config_;
  const std::vector<GroupShard*> by_shard_;
};

// The coordinator's part of the broker's settings.
GroupSettings group_settings(const metadata::BrokerConfig& config);

}  // namespace millrace::coordinator
