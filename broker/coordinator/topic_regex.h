// Subscriptions by regular expression (RE2, as in Kafka): which topics one stands for.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <string_view>

#include "broker/coordinator/topic_directory.h"
#include "protocol/result.h"

namespace millrace::coordinator {

// The topics whose whole name matches. Fails with kInvalidRegularExpression, in Kafka's words.
Result<std::set<std::string, std::less<>>> matching_topics(std::string_view regex,
                                                           const TopicDirectory& topics);

}  // namespace millrace::coordinator
