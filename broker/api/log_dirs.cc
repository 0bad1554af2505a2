// DescribeLogDirs (KIP-113): 4 adds the size of the file system (KIP-827).
#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "broker/api/by_shard.h"
#include "broker/api/handlers.h"
#include "broker/replication/partition.h"
#include "protocol/messages/describe_log_dirs.h"

namespace millrace::api {
namespace {

using protocol::DescribeLogDirsRequest;
using protocol::DescribeLogDirsResponse;

struct Question {
  TopicIdPartition id;
  std::string topic;
  std::optional<int64_t> size_bytes;
};

// All partitions, or those that the request names; names that don't exist are left out, as Kafka does.
std::vector<Question> questions_of(const Context& context, const DescribeLogDirsRequest& request) {
  std::vector<Question> questions;
  const metadata::ImagePtr image = context.image();
  if (!request.topics) {
    image->topics().for_each([&](const metadata::TopicPtr& topic) {
      for (size_t i = 0; i < topic->partitions.size(); ++i) {
        questions.push_back({{topic->id, static_cast<int32_t>(i)}, topic->name, std::nullopt});
      }
    });
    return questions;
  }
  std::set<TopicIdPartition> seen;
  for (const auto& wanted : *request.topics) {
    const auto topic = image->topic(wanted.topic);
    if (!topic) continue;
    for (const int32_t index : wanted.partitions) {
      if (index < 0 || static_cast<size_t>(index) >= topic->partitions.size()) continue;
      if (seen.insert({topic->id, index}).second)
        questions.push_back({{topic->id, index}, topic->name, std::nullopt});
    }
  }
  return questions;
}

}  // namespace

Task<> describe_log_dirs(Context& context, const DescribeLogDirsRequest& request,
                         DescribeLogDirsResponse& response) {
  auto questions = questions_of(context, request);
  auto ask = [](replication::PartitionTable& partitions, Question& question) {
    if (const auto partition = partitions.find(question.id))
      question.size_bytes = partition->log().size_bytes();
  };
  co_await on_owning_shards(context.services, questions, ask);
  std::map<std::string_view, std::vector<DescribeLogDirsResponse::LogDir::Topic::Partition>> by_topic;
  for (const Question& question : questions) {
    if (!question.size_bytes) continue;
    auto& partition = by_topic[question.topic].emplace_back();
    partition.partition_index = question.id.partition;
    partition.partition_size = *question.size_bytes;
  }
  response.results = context.arena.make_array<DescribeLogDirsResponse::LogDir>(1);
  DescribeLogDirsResponse::LogDir& log_dir = response.results[0];
  log_dir.log_dir = context.text(context.services.log_directory.path());
  std::error_code failed;
  const auto space = std::filesystem::space(context.services.log_directory.path(), failed);
  if (!failed) {
    log_dir.total_bytes = static_cast<int64_t>(space.capacity);
    log_dir.usable_bytes = static_cast<int64_t>(space.available);
  }
  log_dir.topics = context.arena.make_array<DescribeLogDirsResponse::LogDir::Topic>(by_topic.size());
  size_t i = 0;
  for (const auto& [name, partitions] : by_topic) {
    log_dir.topics[i].name = context.text(name);
    log_dir.topics[i].partitions = context.arena.copy(partitions);
    ++i;
  }
}

}  // namespace millrace::api
