// What the controller decides: plain functions from an image and a request to results and the operations that
// make them true. No I/O: Controller commits them, and decides again on a newer image where a compare fails.
#pragma once

#include <vector>

#include "broker/metadata/controller.h"

namespace millrace::metadata {

struct PlanContext {
  const ClusterImage& image;
  const StaticConfig& config;
  int32_t node_id;
  runtime::Random& random;
};

template <class R>
struct Plan {
  std::vector<R> results;
  // Those of the results (by index) that come true only with the transaction.
  std::vector<size_t> changed;
  Transaction transaction;
};

Plan<CreateTopicResult> plan_create_topics(const PlanContext& context, const std::vector<NewTopic>& topics);
Plan<DeleteTopicResult> plan_delete_topics(const PlanContext& context,
                                           const std::vector<DeleteTopic>& topics);
Plan<TopicResult> plan_create_partitions(const PlanContext& context,
                                         const std::vector<NewPartitions>& topics);
// With `replace`, what a resource's changes don't name goes back to its default.
Plan<AlterResult> plan_alter_configs(const PlanContext& context, const std::vector<AlterResource>& resources,
                                     bool replace);

}  // namespace millrace::metadata
