// What requests about partitions of many topics have in common: an answer for each, in the request's shape.
#pragma once

#include <cstdint>
#include <string_view>
#include <type_traits>

#include "broker/api/context.h"
#include "protocol/error_code.h"

namespace millrace::api {

// A partition that a request names, and whether it exists.
struct NamedPartition {
  std::string_view topic;
  TopicIdPartition id;                 // a topic id of zeros: there is no such topic
  ErrorCode error = ErrorCode::kNone;  // UNKNOWN_TOPIC_OR_PARTITION
};

// Kafka's messages don't agree on the names of these fields.
template <class Topic>
auto& name_of(Topic& topic) {
  if constexpr (requires { topic.name; }) {
    return topic.name;
  } else {
    return topic.topic;
  }
}
template <class Topic>
auto& partitions_of(Topic& topic) {
  if constexpr (requires { topic.partitions; }) {
    return topic.partitions;
  } else {
    return topic.partition_indexes;
  }
}
template <class Partition>
auto& number_of(Partition& partition) {
  if constexpr (std::is_same_v<std::remove_const_t<Partition>, int32_t>) {
    return partition;
  } else if constexpr (requires { partition.partition_index; }) {
    return partition.partition_index;
  } else {
    return partition.partition;
  }
}

// Makes response.topics with an answer for every partition of request.topics, names and numbers filled in,
// and calls f(named partition, what is wanted of it, its answer) for each, in order. Answers stay where they
// are until the response is sent.
template <class Request, class Response, class F>
void answer_each_partition(Context& context, const Request& request, Response& response, F f) {
  using AnswerTopic = typename Response::Topic;
  response.topics = context.arena.make_array<AnswerTopic>(request.topics.size());
  for (size_t t = 0; t < request.topics.size(); ++t) {
    NamedPartition named;
    named.topic = name_of(request.topics[t]);
    name_of(response.topics[t]) = named.topic;
    const metadata::TopicPtr topic = context.image()->topic(named.topic);
    if (topic) named.id.topic_id = topic->id;
    const auto& wanted = partitions_of(request.topics[t]);
    auto& answers = response.topics[t].partitions;
    answers = context.arena.make_array<typename AnswerTopic::Partition>(wanted.size());
    for (size_t p = 0; p < wanted.size(); ++p) {
      named.id.partition = number_of(wanted[p]);
      number_of(answers[p]) = named.id.partition;
      const bool exists = topic && named.id.partition >= 0 &&
                          static_cast<size_t>(named.id.partition) < topic->partitions.size();
      named.error = exists ? ErrorCode::kNone : ErrorCode::kUnknownTopicOrPartition;
      f(named, wanted[p], answers[p]);
    }
  }
}

}  // namespace millrace::api
