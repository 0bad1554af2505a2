#include "broker/coordinator/topic_regex.h"

#include <fmt/format.h>
#include <re2/re2.h>

namespace millrace::coordinator {
namespace {

// How large a compiled expression may be: several hundred names of topics fit. Everybody waits while it is
// matched, and with enough memory for its automaton that takes some milliseconds at most for thousands of
// topics; without, RE2 falls back to what takes a thousand times as long. The memory is needed that long
// only.
constexpr int kMaxProgramSize = 6'000;
constexpr int64_t kMaxMemoryBytes = 16 << 20;

}  // namespace

Result<std::set<std::string, std::less<>>> matching_topics(std::string_view regex,
                                                           const TopicDirectory& topics) {
  RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(kMaxMemoryBytes);
  const RE2 pattern(re2::StringPiece(regex.data(), regex.size()), options);
  if (!pattern.ok()) {
    return fail(ErrorCode::kInvalidRegularExpression,
                fmt::format("SubscribedTopicRegex `{}` is not a valid regular expression: {}.", regex,
                            pattern.error()));
  }
  if (pattern.ProgramSize() > kMaxProgramSize) {
    return fail(
        ErrorCode::kInvalidRegularExpression,
        fmt::format("SubscribedTopicRegex is too large: its {} characters compile to {} steps, of which "
                    "there may be {}. Repeat less of it, or subscribe to topics by their names.",
                    regex.size(), pattern.ProgramSize(), kMaxProgramSize));
  }
  std::set<std::string, std::less<>> matching;
  topics.for_each([&](const TopicDirectory::Topic& topic) {
    if (RE2::FullMatch(re2::StringPiece(topic.name.data(), topic.name.size()), pattern))
      matching.emplace(topic.name);
  });
  return matching;
}

}  // namespace millrace::coordinator
