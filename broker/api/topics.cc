// CreateTopics: 4 adds broker defaults (KIP-464), 5 answers with the configuration (KIP-525), 7 with the
// topic id. DeleteTopics: 6 can name topics by id. CreatePartitions. What each means is the controller's;
// here it is translated.
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include "broker/api/handlers.h"
#include "protocol/messages/create_partitions.h"
#include "protocol/messages/create_topics.h"
#include "protocol/messages/delete_topics.h"

namespace millrace::api {
namespace {

using metadata::Controller;
using protocol::CreatePartitionsRequest;
using protocol::CreatePartitionsResponse;
using protocol::CreateTopicsRequest;
using protocol::CreateTopicsResponse;
using protocol::DeleteTopicsRequest;
using protocol::DeleteTopicsResponse;

std::vector<int32_t> to_vector(const Array<int32_t>& ids) { return {ids.begin(), ids.end()}; }

metadata::NewTopic to_new_topic(const CreateTopicsRequest::Topic& wanted) {
  metadata::NewTopic topic{.name = std::string(wanted.name),
                           .num_partitions = wanted.num_partitions,
                           .replication_factor = wanted.replication_factor};
  for (const auto& assignment : wanted.assignments) {
    topic.assignments.push_back({assignment.partition_index, to_vector(assignment.broker_ids)});
  }
  for (const auto& config : wanted.configs) topic.configs.emplace_back(config.name, config.value);
  return topic;
}

CreateTopicsResponse::Topic to_answer(Context& context, const metadata::CreateTopicResult& result) {
  CreateTopicsResponse::Topic answer;
  answer.name = context.text(result.name);
  answer.error_code = result.error.code;
  answer.error_message = context.message(result.error.message);
  if (result.error.code != ErrorCode::kNone) {
    // Kafka answers a refused topic with an empty list, where null would say "not allowed to see".
    answer.configs.emplace();
    return answer;
  }
  answer.topic_id = result.id;
  answer.num_partitions = result.num_partitions;
  answer.replication_factor = result.replication_factor;
  answer.configs = context.arena.make_array<CreateTopicsResponse::Topic::Config>(result.configs.size());
  for (size_t i = 0; i < result.configs.size(); ++i) {
    const metadata::ConfigEntry& entry = result.configs[i];
    CreateTopicsResponse::Topic::Config& config = (*answer.configs)[i];
    config.name = context.text(entry.name);
    if (entry.value) config.value = context.text(*entry.value);
    config.read_only = entry.read_only;
    config.config_source = static_cast<int8_t>(entry.source);
    config.is_sensitive = entry.sensitive;
  }
  return answer;
}

std::vector<metadata::DeleteTopic> topics_to_delete(const DeleteTopicsRequest& request, int16_t version) {
  std::vector<metadata::DeleteTopic> topics;
  if (version < 6) {
    for (const std::string_view name : request.topic_names) topics.push_back({.name = std::string(name)});
    return topics;
  }
  for (const auto& wanted : request.topics) {
    metadata::DeleteTopic topic{.id = wanted.topic_id};
    if (wanted.name) topic.name = std::string(*wanted.name);
    topics.push_back(std::move(topic));
  }
  return topics;
}

// Files for partitions take a few blocks; without them the topic would be there, and its partitions not.
// Nothing to say if there is enough, or if the file system doesn't tell.
std::optional<Error> want_of_space(Context& context) {
  constexpr uint64_t kLeastBytes = 1 << 20;
  std::error_code failed;
  const auto space = std::filesystem::space(context.services.log_directory.path(), failed);
  if (failed || space.available >= kLeastBytes) return std::nullopt;
  return Error{
      ErrorCode::kKafkaStorageError,
      "The disk is full: there is no space for more partitions. Free disk space or lower the topics' "
      "retention."};
}

}  // namespace

Task<> create_topics(Context& context, const CreateTopicsRequest& request, CreateTopicsResponse& response) {
  response.topics = context.arena.make_array<CreateTopicsResponse::Topic>(request.topics.size());
  if (const auto full = want_of_space(context)) {
    for (size_t i = 0; i < request.topics.size(); ++i)
      response.topics[i] = to_answer(context, {.name = std::string(request.topics[i].name), .error = *full});
    co_return;
  }
  std::vector<metadata::NewTopic> topics;
  for (const auto& wanted : request.topics) topics.push_back(to_new_topic(wanted));
  Controller& controller = context.services.controller;
  auto create = [&] { return controller.create_topics(std::move(topics), request.validate_only); };
  const auto results = co_await context.services.home().call(create);
  // Topics that are named twice are answered once.
  response.topics = context.arena.make_array<CreateTopicsResponse::Topic>(results.size());
  for (size_t i = 0; i < results.size(); ++i) response.topics[i] = to_answer(context, results[i]);
}

Task<> delete_topics(Context& context, const DeleteTopicsRequest& request, DeleteTopicsResponse& response) {
  auto topics = topics_to_delete(request, context.version);
  Controller& controller = context.services.controller;
  auto remove = [&] { return controller.delete_topics(std::move(topics)); };
  const auto results = co_await context.services.home().call(remove);
  response.responses = context.arena.make_array<DeleteTopicsResponse::Topic>(results.size());
  for (size_t i = 0; i < results.size(); ++i) {
    DeleteTopicsResponse::Topic& answer = response.responses[i];
    // Null, where the message's default is an empty text.
    answer.name = results[i].name ? std::optional(context.text(*results[i].name)) : std::nullopt;
    answer.topic_id = results[i].id;
    answer.error_code = results[i].error.code;
    answer.error_message = context.message(results[i].error.message);
  }
}

Task<> create_partitions(Context& context, const CreatePartitionsRequest& request,
                         CreatePartitionsResponse& response) {
  response.results = context.arena.make_array<CreatePartitionsResponse::Topic>(request.topics.size());
  if (const auto full = want_of_space(context)) {
    for (size_t i = 0; i < request.topics.size(); ++i) {
      response.results[i].name = request.topics[i].name;
      response.results[i].error_code = full->code;
      response.results[i].error_message = context.message(full->message);
    }
    co_return;
  }
  std::vector<metadata::NewPartitions> topics;
  for (const auto& wanted : request.topics) {
    metadata::NewPartitions topic{.topic = std::string(wanted.name), .count = wanted.count};
    if (wanted.assignments) {
      topic.assignments.emplace();
      for (const auto& assignment : *wanted.assignments)
        topic.assignments->push_back(to_vector(assignment.broker_ids));
    }
    topics.push_back(std::move(topic));
  }
  Controller& controller = context.services.controller;
  auto create = [&] { return controller.create_partitions(std::move(topics), request.validate_only); };
  const auto results = co_await context.services.home().call(create);
  response.results = context.arena.make_array<CreatePartitionsResponse::Topic>(results.size());
  for (size_t i = 0; i < results.size(); ++i) {
    response.results[i].name = context.text(results[i].topic);
    response.results[i].error_code = results[i].error.code;
    response.results[i].error_message = context.message(results[i].error.message);
  }
}

}  // namespace millrace::api
