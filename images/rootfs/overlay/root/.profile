# SPDX-License-Identifier: Apache-2.0 OR MIT
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin LANG=C.UTF-8
PS1='\h:\w# '
