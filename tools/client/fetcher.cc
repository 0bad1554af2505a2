#include "tools/client/fetcher.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

#include "protocol/messages/fetch.h"
#include "protocol/record_batch.h"

namespace millrace::tools {
namespace {

constexpr int16_t kFirstVersionWithTopicId = 13;
constexpr int64_t kRetryPauseUs = 100'000;

}  // namespace

void Fetcher::seek(int32_t partition, int64_t offset) { positions_[partition].offset = offset; }

void Fetcher::pause(int32_t partition, bool paused) {
  const auto found = positions_.find(partition);
  if (found == positions_.end()) return;
  found->second.paused = paused;
  // Nothing is known of it until it is asked for again.
  if (paused) found->second.failing_since_us = 0;
}

void Fetcher::hold_back(int32_t partition) {
  positions_[partition].not_before_us = steady_us() + kRetryPauseUs;
  stale_ = true;
}

// Until it is time to ask again for one of the partitions that were held back at `now_us`.
int64_t Fetcher::held_back_ms(int64_t now_us) const {
  int64_t soonest_us = INT64_MAX;
  for (const auto& [number, state] : positions_) {
    // Those that are due wait for their leader's answer.
    if (!state.paused && !state.on_the_way && state.not_before_us > now_us)
      soonest_us = std::min(soonest_us, state.not_before_us);
  }
  return soonest_us == INT64_MAX ? INT64_MAX : std::max<int64_t>(0, (soonest_us - steady_us() + 999) / 1000);
}

// An error of one partition that trying again may mend.
void Fetcher::failed(int32_t partition, ErrorCode error, std::vector<FetchedData>& fetched) {
  hold_back(partition);
  PartitionState& state = positions_[partition];
  const int64_t now_us = steady_us();
  if (state.failing_since_us == 0) state.failing_since_us = now_us;
  if (now_us - state.failing_since_us < cluster_.options().timeout_ms * 1000) return;
  FetchedData& data = fetched.emplace_back();
  data.partition = partition;
  data.error = error;
  data.fetch_offset = data.next_offset = state.offset;
}

Result<void> Fetcher::refresh() {
  stale_ = false;
  Result<TopicInfo> topic = cluster_.topic(topic_.name);
  if (!topic) return std::unexpected(topic.error());
  // Offsets of the old one mean nothing there.
  if (!topic_.id.is_zero() && !topic->id.is_zero() && topic->id != topic_.id) {
    return fail(
        ErrorCode::kUnknownTopicId,
        fmt::format("topic \"{}\" was deleted and made again meanwhile; start again to read the new one",
                    topic_.name));
  }
  topic_ = std::move(*topic);
  return {};
}

void Fetcher::set_topic(TopicInfo topic) {
  topic_ = std::move(topic);
  stale_ = false;
  for (auto& [leader, line] : lines_) line.asked.clear();
}

Result<void> Fetcher::send_fetches(std::vector<FetchedData>& fetched) {
  if (stale_) {
    if (Result<void> refreshed = refresh(); !refreshed) return refreshed;
  }
  std::map<int32_t, std::vector<int32_t>> wanted;
  for (const auto& [number, state] : positions_) {
    if (state.paused || state.on_the_way || state.not_before_us > steady_us()) continue;
    const PartitionInfo* info = topic_.partition(number);
    if (info == nullptr || info->leader < 0) {
      failed(number, ErrorCode::kLeaderNotAvailable, fetched);
    } else if (!lines_[info->leader].waiting) {
      wanted[info->leader].push_back(number);
    }
  }
  for (const auto& [leader, partitions] : wanted) {
    const Result<void> sent = send_fetch(leader, partitions);
    if (sent) continue;
    if (!is_retriable(sent.error().code)) return sent;
    if (Result<void> failed = fail_line(leader, sent.error()); !failed) return failed;
  }
  return {};
}

Result<void> Fetcher::send_fetch(int32_t leader, const std::vector<int32_t>& partitions) {
  using Request = protocol::FetchRequest;
  lines_[leader].asked.clear();
  for (const int32_t number : partitions) lines_[leader].asked[number] = positions_[number].offset;
  Result<Connection*> connection = cluster_.broker(leader);
  if (!connection) return std::unexpected(connection.error());
  const int16_t limit = topic_.id.is_zero() ? kFirstVersionWithTopicId - 1 : INT16_MAX;
  const Result<int16_t> version = (*connection)->version_of(ApiKey::kFetch, limit);
  if (!version) return std::unexpected(version.error());
  std::vector<Request::Topic::Partition> asked;
  for (const int32_t number : partitions) {
    Request::Topic::Partition& partition = asked.emplace_back();
    partition.partition = number;
    partition.fetch_offset = positions_[number].offset;
    partition.partition_max_bytes = options_.partition_max_bytes;
    positions_[number].on_the_way = true;
  }
  std::vector<Request::Topic> topics(1);
  topics[0].topic = topic_.name;
  topics[0].topic_id = topic_.id;
  topics[0].partitions = asked;
  Request request;
  request.max_wait_ms = options_.max_wait_ms;
  request.min_bytes = options_.min_bytes;
  request.max_bytes = options_.max_bytes;
  request.isolation_level = static_cast<int8_t>(options_.isolation);
  request.topics = topics;
  Line& line = lines_[leader];
  line.connection = *connection;
  line.waiting = true;
  line.sent_us = steady_us();
  line.deadline = Deadline::after_ms(cluster_.options().timeout_ms + options_.max_wait_ms);
  const Result<int32_t> sent = (*connection)->send(request, *version);
  if (!sent) return std::unexpected(sent.error());
  return {};
}

Result<std::vector<FetchedData>> Fetcher::poll(int64_t wait_ms) {
  std::vector<FetchedData> fetched;
  const int64_t began_us = steady_us();
  if (Result<void> sent = send_fetches(fetched); !sent) return std::unexpected(sent.error());
  std::vector<int> fds;
  std::vector<int32_t> leaders;
  for (const auto& [leader, line] : lines_) {
    if (!line.waiting) continue;
    fds.push_back(line.connection->fd());
    leaders.push_back(leader);
  }
  for (const size_t i : wait_readable(fds, Deadline::after_ms(std::min(wait_ms, held_back_ms(began_us))))) {
    Result<Connection::Response> response =
        lines_[leaders[i]].connection->receive(lines_[leaders[i]].deadline);
    Result<void> taken = response ? take_answer(leaders[i], std::move(*response), fetched)
                                  : fail_line(leaders[i], response.error());
    if (!taken) return std::unexpected(taken.error());
  }
  for (const int32_t leader : leaders) {
    const Line& line = lines_[leader];
    if (!line.waiting || !line.deadline.passed()) continue;
    const Error late{ErrorCode::kRequestTimedOut,
                     fmt::format("{}: no answer to Fetch in time", line.connection->address().to_string())};
    if (Result<void> failed = fail_line(leader, late); !failed) return std::unexpected(failed.error());
  }
  return fetched;
}

Result<void> Fetcher::take_answer(int32_t leader, Connection::Response response,
                                  std::vector<FetchedData>& fetched) {
  auto reply = Connection::parse<protocol::FetchResponse>(std::move(response));
  if (!reply) return std::unexpected(reply.error());
  lines_[leader].waiting = false;
  const auto frame = std::make_shared<const Buffer>(std::move(reply->frame));
  for (const auto& [number, offset] : lines_[leader].asked) {
    if (const auto found = positions_.find(number); found != positions_.end())
      found->second.on_the_way = false;
  }
  if (reply->message.error_code != ErrorCode::kNone) {
    return fail_line(leader, {reply->message.error_code, std::string(error_name(reply->message.error_code))});
  }
  failing_since_us_ = 0;
  for (const auto& topic : reply->message.responses) {
    for (const auto& partition : topic.partitions) {
      const auto found = positions_.find(partition.partition_index);
      if (found == positions_.end()) continue;
      PartitionState& state = found->second;
      const auto asked = lines_[leader].asked.find(partition.partition_index);
      // Its caller has moved on meanwhile.
      if (asked == lines_[leader].asked.end() || asked->second != state.offset) continue;
      // Damage of what is stored doesn't go away by itself.
      if (is_retriable(partition.error_code) && partition.error_code != ErrorCode::kCorruptMessage) {
        failed(partition.partition_index, partition.error_code, fetched);
        continue;
      }
      state.failing_since_us = 0;
      FetchedData& data = fetched.emplace_back();
      data.partition = partition.partition_index;
      data.error = partition.error_code;
      data.frame = frame;
      data.latency_us = steady_us() - lines_[leader].sent_us;
      data.records = partition.records.bytes.value_or(Bytes{});
      data.fetch_offset = data.next_offset = state.offset;
      data.log_start_offset = partition.log_start_offset;
      data.end_offset = options_.isolation == Isolation::kReadCommitted ? partition.last_stable_offset
                                                                        : partition.high_watermark;
      for (const auto& aborted :
           partition.aborted_transactions.value_or(decltype(partition.aborted_transactions)::value_type{})) {
        data.aborted.push_back({aborted.producer_id, aborted.first_offset});
      }
      const Result<size_t> walked =
          protocol::for_each_batch(data.records, [&](const protocol::BatchHeader& header, Bytes) {
            data.next_offset = std::max(data.next_offset, header.last_offset() + 1);
            return true;
          });
      if (!walked)
        return fail(walked.error().code, fmt::format("{} partition {} from offset {}: {}", topic_.name,
                                                     data.partition, state.offset, walked.error().message));
      data.records = data.records.first(*walked);
      state.offset = data.next_offset;
    }
  }
  return {};
}

Result<void> Fetcher::fail_line(int32_t leader, const Error& error) {
  Line& line = lines_[leader];
  if (line.connection != nullptr) cluster_.drop(line.connection);
  line.connection = nullptr;
  line.waiting = false;
  for (const auto& [number, offset] : line.asked) {
    const auto found = positions_.find(number);
    if (found == positions_.end()) continue;
    found->second.on_the_way = false;
    hold_back(number);
  }
  const int64_t now_us = steady_us();
  if (failing_since_us_ == 0) failing_since_us_ = now_us;
  if (now_us - failing_since_us_ < cluster_.options().timeout_ms * 1000) return {};
  return std::unexpected(error);
}

}  // namespace millrace::tools
