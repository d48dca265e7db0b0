// SPDX-License-Identifier: BSD-3-Clause

/** Error numbers of x86-64 Linux that zpmfs answers with; handlers return them negated. */
export const EPERM = 1;
export const ENOENT = 2;
export const ESRCH = 3;
export const EIO = 5;
export const ENXIO = 6;
export const E2BIG = 7;
export const EEXIST = 17;
export const EXDEV = 18;
export const ENOTDIR = 20;
export const EISDIR = 21;
export const EINVAL = 22;
export const ENOTTY = 25;
export const EFBIG = 27;
export const ENOSPC = 28;
export const EROFS = 30;
export const EMLINK = 31;
export const ERANGE = 34;
export const ENAMETOOLONG = 36;
export const ENOTEMPTY = 39;
export const ENODATA = 61;
export const EOPNOTSUPP = 95;
export const ESTALE = 116;
/** "Structure needs cleaning": something on the media is not what it must be. */
export const EUCLEAN = 117;
export const EDQUOT = 122;
