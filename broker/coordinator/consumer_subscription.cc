#include "broker/coordinator/consumer_subscription.h"

#include <algorithm>

#include "protocol/arena.h"
#include "protocol/messages/consumer_protocol_record.h"
#include "protocol/writer.h"

namespace millrace::coordinator {
namespace {

constexpr int16_t kWithOwnedPartitions = 1;
constexpr int16_t kWithGeneration = 2;
constexpr int16_t kWithRack = 3;

// Reads from the front; once something is wrong, everything is, and all reads give nothing.
class Cursor {
 public:
  explicit Cursor(Bytes in) : in_(in) {}

  bool ok() const { return ok_; }
  void fail() { ok_ = false; }
  int16_t int16() { return static_cast<int16_t>(integer(2)); }
  int32_t int32() { return static_cast<int32_t>(integer(4)); }
  // A count of elements that take at least `each` bytes.
  size_t count(size_t each) {
    const int32_t number = int32();
    if (number < 0 || static_cast<size_t>(number) > in_.size() / each) ok_ = false;
    return ok_ ? static_cast<size_t>(number) : 0;
  }
  std::string_view text() { return as_text(take(int16())); }
  std::optional<std::string_view> nullable_text() {
    const int16_t size = int16();
    if (size == -1) return std::nullopt;
    return as_text(take(size));
  }
  Bytes nullable_bytes() {
    const int32_t size = int32();
    return size == -1 ? Bytes() : take(size);
  }

 private:
  uint32_t integer(size_t width) {
    uint32_t value = 0;
    for (const std::byte byte : take(static_cast<int64_t>(width)))
      value = value << 8 | std::to_integer<uint32_t>(byte);
    return value;
  }
  Bytes take(int64_t size) {
    if (!ok_ || size < 0 || static_cast<uint64_t>(size) > in_.size()) {
      ok_ = false;
      return {};
    }
    const Bytes taken = in_.first(static_cast<size_t>(size));
    in_ = in_.subspan(static_cast<size_t>(size));
    return taken;
  }

  Bytes in_;
  bool ok_ = true;
};

std::vector<std::string_view> read_topics(Cursor& in) {
  std::vector<std::string_view> topics;
  const size_t count = in.count(sizeof(int16_t));
  for (size_t i = 0; i < count && in.ok(); ++i) topics.push_back(in.text());
  return topics;
}

std::vector<NamedPartitions> read_partitions(Cursor& in) {
  std::vector<NamedPartitions> topics;
  const size_t count = in.count(sizeof(int16_t) + sizeof(int32_t));
  for (size_t i = 0; i < count && in.ok(); ++i) {
    NamedPartitions& topic = topics.emplace_back();
    topic.topic = in.text();
    const size_t partitions = in.count(sizeof(int32_t));
    for (size_t p = 0; p < partitions; ++p) topic.partitions.push_back(in.int32());
  }
  return topics;
}

}  // namespace

std::optional<ConsumerSubscription> read_subscription(Bytes metadata) {
  Cursor in(metadata);
  ConsumerSubscription subscription;
  subscription.version = in.int16();
  if (subscription.version < 0) return std::nullopt;
  subscription.topics = read_topics(in);
  in.nullable_bytes();  // user data
  if (subscription.version >= kWithOwnedPartitions) subscription.owned = read_partitions(in);
  if (subscription.version >= kWithGeneration) in.int32();
  if (subscription.version >= kWithRack) subscription.rack = in.nullable_text();
  if (!in.ok()) return std::nullopt;
  return subscription;
}

std::optional<ConsumerAssignment> read_assignment(Bytes bytes) {
  if (bytes.empty()) return ConsumerAssignment{};  // nothing assigned yet
  Cursor in(bytes);
  if (in.int16() < 0) return std::nullopt;
  ConsumerAssignment assignment;
  assignment.partitions = read_partitions(in);
  assignment.user_data = in.nullable_bytes();
  if (!in.ok()) return std::nullopt;
  return assignment;
}

std::optional<std::vector<std::string_view>> subscribed_topics(Bytes metadata) {
  Cursor in(metadata);
  if (in.int16() < 0) return std::nullopt;
  std::vector<std::string_view> topics = read_topics(in);
  if (!in.ok()) return std::nullopt;
  return topics;
}

Buffer write_assignment(int16_t version, const std::map<std::string, std::vector<int32_t>>& partitions) {
  using protocol::ConsumerProtocolAssignment;
  version =
      std::clamp(version, ConsumerProtocolAssignment::kMinVersion, ConsumerProtocolAssignment::kMaxVersion);
  Arena arena;
  std::vector<ConsumerProtocolAssignment::TopicPartition> topics;
  for (const auto& [topic, numbers] : partitions) topics.push_back({topic, arena.copy(numbers)});
  ConsumerProtocolAssignment assignment;
  assignment.assigned_partitions = topics;
  protocol::Writer writer;
  writer.integer(version);
  // Can't fail: topics have names that fit, and every version has all of this.
  static_cast<void>(encode(assignment, version, writer));
  return writer.take();
}

}  // namespace millrace::coordinator
