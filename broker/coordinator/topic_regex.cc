#include "broker/coordinator/topic_regex.h"

#include <fmt/format.h>
#include <re2/re2.h>

namespace millrace::coordinator {
namespace {

// What compiling and matching one expression may take; larger ones are invalid.
constexpr int64_t kMaxMemoryBytes = 1 << 20;

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
  std::set<std::string, std::less<>> matching;
  topics.for_each([&](const TopicDirectory::Topic& topic) {
    if (RE2::FullMatch(re2::StringPiece(topic.name.data(), topic.name.size()), pattern))
      matching.emplace(topic.name);
  });
  return matching;
}

}  // namespace millrace::coordinator
