// Descriptors are kept back for those who need one most: a sync that can't open its directory ends the node,
// a segment that can't be opened refuses one partition's requests, a connection can come again.
#pragma once

namespace millrace::storage {

enum class DescriptorUse {
  kFile,        // all but the last sixteenth of what the process may have open (RLIMIT_NOFILE)
  kConnection,  // the first three quarters
};

// Whether a descriptor that was opened just now is one of those kept back: then it is to be closed, as if
// there had been none. Descriptors are given from 0 up, so its number tells how many there are.
bool is_kept_back(int fd, DescriptorUse use);

// Whether the one that was asked about last was beyond the first half: who keeps files open only to save
// opening them again then closes them. Any thread.
bool descriptors_are_scarce();

}  // namespace millrace::storage
